//! The device that a player plays to, whichever kind it is.

use jam_world::World;

use super::clocks::ClockPair;
use super::cpal_device::CpalDevice;
use super::link::{Line, link};
use super::spec::{OutputSpec, VirtualSpec};
use super::virtual_device::{VIRTUAL_RATE, VirtualDevice};
use super::{AudioError, PlayerConfig};

/// A running device.
pub struct Device {
    /// For people.
    pub name: String,
    /// As `jam outputs` has it; empty: it is not real.
    pub id: String,
    /// Frames a second.
    pub rate: u32,
    /// How many stamps are wrong after a start or an underrun.
    pub settle: u32,
    kind: Kind,
}

enum Kind {
    Cpal(CpalDevice),
    /// Stops when it is dropped.
    Virtual {
        _device: VirtualDevice,
    },
}

/// The first few stamps of a card after a start or an underrun are wrong by milliseconds.
const CARD_SETTLES: u32 = 4;

impl Device {
    /// Opens and starts the device that `config` names, at volume `gain`.
    pub fn open(
        world: &World,
        config: &mut PlayerConfig,
        gain: f32,
    ) -> Result<(Self, Line), AudioError> {
        match &config.output {
            OutputSpec::Device(name) => {
                let (name, host) = (name.as_deref(), config.host.as_deref());
                let (device, line) = CpalDevice::open(world.clock.clone(), name, host, gain)?;
                let (name, id, rate) = (device.name.clone(), device.id.clone(), device.rate);
                Ok((Self { name, id, rate, settle: CARD_SETTLES, kind: Kind::Cpal(device) }, line))
            }
            OutputSpec::Virtual(spec) => {
                let spec = spec.clone();
                Self::open_virtual(world, config, "virtual device", &spec, gain)
            }
            // Nothing is heard, but time passes as on a device.
            OutputSpec::None => {
                Self::open_virtual(world, config, "no sound", &VirtualSpec::default(), gain)
            }
        }
    }

    fn open_virtual(
        world: &World,
        config: &mut PlayerConfig,
        name: &str,
        spec: &VirtualSpec,
        gain: f32,
    ) -> Result<(Self, Line), AudioError> {
        let (line, feed) = link(VIRTUAL_RATE, gain);
        let device = VirtualDevice::start(world, spec, feed, config.sink.take(), config.urgent)?;
        let kind = Kind::Virtual { _device: device };
        let (name, id) = (name.to_owned(), String::new());
        Ok((Self { name, id, rate: VIRTUAL_RATE, settle: 0, kind }, line))
    }

    /// Keeps up with the device's clock. Called often.
    pub fn update(&mut self) {
        if let Kind::Cpal(device) = &mut self.kind {
            device.update();
        }
    }

    /// An instant of its stamps as one of the raw clock.
    pub fn raw_ns(&self, at_ns: i64, clocks: &ClockPair) -> i64 {
        match &self.kind {
            Kind::Cpal(device) => clocks.other(device.mono_ns(at_ns)),
            Kind::Virtual { .. } => clocks.other(at_ns),
        }
    }

    /// Why the device is gone, if it is.
    pub fn lost(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Cpal(device) => device.lost(),
            Kind::Virtual { .. } => None,
        }
    }

    /// Whether a device that gives no stamps for long is to be opened anew.
    pub fn may_hang(&self) -> bool {
        matches!(self.kind, Kind::Cpal(_))
    }
}
