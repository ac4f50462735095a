//! `--output`: where the sound goes.

use std::path::PathBuf;
use std::str::FromStr;

/// Where the sound goes.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputSpec {
    /// A sound card by its id or a part of its name; `None`: the system's default.
    Device(Option<String>),
    /// The sound card in software.
    Virtual(VirtualSpec),
    /// No sound and no decoding; everything else runs.
    None,
}

/// The virtual device: a clock that is off by `drift_ppm`, and a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualSpec {
    /// By how much its clock runs faster than CLOCK_MONOTONIC, ppm.
    pub drift_ppm: f64,
    /// Where every frame of its clock is written; the index lies beside it.
    pub wav: Option<PathBuf>,
}

/// An `--output` that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{given}' is not an output: {why}; use a device from `jam outputs`, `virtual[:drift=PPM][,wav=FILE]`, `wav:FILE` or `none`"
)]
pub struct InvalidOutput {
    given: String,
    why: String,
}

/// More than any crystal is off, and less than what the player may steer.
const DRIFT_PPM_MAX: f64 = 400.0;

impl OutputSpec {
    /// Reads `DEVICE|virtual[:drift=PPM][,wav=FILE]|wav:FILE|none`; `default` is the default
    /// device.
    pub fn parse(given: &str) -> Result<Self, InvalidOutput> {
        let invalid = |why: String| InvalidOutput { given: given.to_owned(), why };
        match given {
            "" => return Err(invalid("it is empty".into())),
            "default" => return Ok(Self::Device(None)),
            "none" => return Ok(Self::None),
            "virtual" => return Ok(Self::Virtual(VirtualSpec::default())),
            _ => {}
        }
        if let Some(file) = given.strip_prefix("wav:") {
            return match file {
                "" => Err(invalid("the file's name is missing".into())),
                _ => Ok(Self::Virtual(VirtualSpec {
                    wav: Some(file.into()),
                    ..VirtualSpec::default()
                })),
            };
        }
        match given.strip_prefix("virtual:").or_else(|| given.strip_prefix("virtual,")) {
            Some(options) => parse_virtual(options).map(Self::Virtual).map_err(invalid),
            None => Ok(Self::Device(Some(given.to_owned()))),
        }
    }
}

fn parse_virtual(options: &str) -> Result<VirtualSpec, String> {
    let mut spec = VirtualSpec::default();
    let mut rest = options;
    while !rest.is_empty() {
        // A file's name may hold commas: it is the last option and takes the rest.
        if let Some(file) = rest.strip_prefix("wav=") {
            if file.is_empty() {
                return Err("the file's name is missing".into());
            }
            spec.wav = Some(file.into());
            break;
        }
        let (option, after) = rest.split_once(',').unwrap_or((rest, ""));
        let Some(ppm) = option.strip_prefix("drift=") else {
            return Err(format!("'{option}' is neither drift=PPM nor wav=FILE"));
        };
        spec.drift_ppm =
            f64::from_str(ppm).map_err(|_| format!("'{ppm}' is not a number of ppm"))?;
        if !(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX).contains(&spec.drift_ppm) {
            return Err(format!("the drift must lie within ±{DRIFT_PPM_MAX} ppm"));
        }
        rest = after;
    }
    Ok(spec)
}

impl FromStr for OutputSpec {
    type Err = InvalidOutput;
    fn from_str(given: &str) -> Result<Self, InvalidOutput> {
        Self::parse(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn virtual_at(drift_ppm: f64, wav: Option<&str>) -> OutputSpec {
        OutputSpec::Virtual(VirtualSpec { drift_ppm, wav: wav.map(PathBuf::from) })
    }

    #[test]
    fn every_form_is_read() {
        for (given, spec) in [
            ("default", OutputSpec::Device(None)),
            ("alsa:hw:0,0", OutputSpec::Device(Some("alsa:hw:0,0".into()))),
            ("none", OutputSpec::None),
            ("virtual", virtual_at(0.0, None)),
            ("virtual:drift=80", virtual_at(80.0, None)),
            ("virtual:drift=-60,wav=a,b.wav", virtual_at(-60.0, Some("a,b.wav"))),
            ("virtual,wav=x.wav", virtual_at(0.0, Some("x.wav"))),
            ("virtual:wav=x.wav", virtual_at(0.0, Some("x.wav"))),
            ("wav:/tmp/x.wav", virtual_at(0.0, Some("/tmp/x.wav"))),
        ] {
            assert_eq!(OutputSpec::parse(given), Ok(spec), "{given}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for given in [
            "",
            "wav:",
            "virtual:wav=",
            "virtual:drift=fast",
            "virtual:drift=1e9",
            "virtual:drift=NaN",
            "virtual:x=1",
        ] {
            let error = OutputSpec::parse(given).expect_err("nonsense is refused").to_string();
            assert!(error.contains("jam outputs"), "{error}");
        }
    }
}
