//! Listen together: the jam command line and the player behind it.
pub mod audio;
