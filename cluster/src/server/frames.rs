//! What the bytes of a connection are, as far as it matters here: the headers of HTTP/2's frames (RFC 9113, 4.1).
//!
//! A frame takes its reader a microsecond, whatever is in it, and many are nine bytes long: a line carries a million of
//! them in a second. So each one has a price. What carries a client's data is free or nearly so; all else is dear, and
//! no client needs much of it.

/// What every HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
/// Data in frames of this size takes a line longer to carry than a node to read.
const DATA_BYTES_FREE: u32 = 1024;
/// Of a frame that carries no data.
const CONTROL_PRICE: u32 = 8;
/// Of a frame with little data.
const SMALL_DATA_PRICE: u32 = 1;
/// Of a frame of data with none in it.
const EMPTY_DATA_PRICE: u32 = CONTROL_PRICE;

/// Where in the bytes of a connection it is.
#[derive(Clone, Copy, Debug)]
pub enum Frames {
    /// So much of the preface was there.
    Preface(usize),
    /// So much of a frame's header was there.
    Head([u8; HEAD_BYTES], usize),
    /// So much of a frame's payload is to come.
    Payload(u32),
    /// It is no HTTP/2.
    Other,
}

impl Frames {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Self::Preface(0)
    }

    /// The price of the frames that begin in these bytes. A frame is counted when its header is complete.
    pub fn price(&mut self, mut bytes: &[u8]) -> u32 {
        let mut price = 0;
        while !bytes.is_empty() {
            let used = match self {
                Self::Preface(matched) => {
                    let used = bytes.len().min(PREFACE.len() - *matched);
                    if bytes[..used] != PREFACE[*matched..*matched + used] {
                        *self = Self::Other;
                        return price;
                    }
                    *matched += used;
                    if *matched == PREFACE.len() {
                        *self = Self::Head([0; HEAD_BYTES], 0);
                    }
                    used
                }
                Self::Head(head, filled) => {
                    let used = bytes.len().min(HEAD_BYTES - *filled);
                    head[*filled..*filled + used].copy_from_slice(&bytes[..used]);
                    *filled += used;
                    if *filled == HEAD_BYTES {
                        let [high, middle, low, kind, ..] = *head;
                        let length = u32::from_be_bytes([0, high, middle, low]);
                        price += price_of(kind, length);
                        *self = Self::after(length);
                    }
                    used
                }
                Self::Payload(left) => {
                    let used = bytes.len().min(*left as usize);
                    // No more than `left`, which is 32 bits.
                    let left = *left - used as u32;
                    *self = Self::after(left);
                    used
                }
                Self::Other => return price,
            };
            bytes = &bytes[used..];
        }
        price
    }

    fn after(left: u32) -> Self {
        if left == 0 { Self::Head([0; HEAD_BYTES], 0) } else { Self::Payload(left) }
    }
}

fn price_of(kind: u8, length: u32) -> u32 {
    match (kind, length) {
        (DATA, 0) => EMPTY_DATA_PRICE,
        (DATA, DATA_BYTES_FREE..) => 0,
        (DATA, _) => SMALL_DATA_PRICE,
        _ => CONTROL_PRICE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u32) -> Vec<u8> {
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        // Looks like the headers of many frames.
        frame.extend(vec![0; length as usize]);
        frame
    }

    fn http2(frames: &[(u8, u32)]) -> Vec<u8> {
        let frames = frames.iter().flat_map(|(kind, length)| frame(*kind, *length));
        PREFACE.iter().copied().chain(frames).collect()
    }

    #[test]
    fn data_is_cheap_and_all_else_is_dear() {
        for (kind, length, price) in [
            (0, 16 << 10, 0),
            (0, 1024, 0),
            (0, 1023, 1),
            (0, 1, 1),
            (0, 0, 8),
            (1, 100, 8), // HEADERS
            (2, 5, 8),   // PRIORITY
            (3, 4, 8),   // RST_STREAM
            (4, 0, 8),   // SETTINGS
            (6, 8, 8),   // PING
            (8, 4, 8),   // WINDOW_UPDATE
            (99, 70_000, 8),
        ] {
            let bytes = http2(&[(kind, length)]);
            assert_eq!(Frames::new().price(&bytes), price, "{kind} {length}");
        }
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_come() {
        let bytes = http2(&[(4, 18), (6, 8), (0, 300), (8, 4), (0, 0), (1, 40)]);
        let whole = Frames::new().price(&bytes);
        assert_eq!(whole, 8 + 8 + 1 + 8 + 8 + 8);
        for size in 1..40 {
            let mut frames = Frames::new();
            let parts = bytes.chunks(size).map(|part| frames.price(part));
            assert_eq!(parts.sum::<u32>(), whole, "in parts of {size}");
        }
    }

    #[test]
    fn nothing_is_counted_in_http_1() {
        let bytes = b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
        assert_eq!(Frames::new().price(&bytes), 0);
    }
}
