//! A picture of a back end: all that a function of ours has to show of it, taken once over a link.
//!
//! [`Picture::take`] asks for regions, interrupts and the configuration space, [`Picture::config_space`] makes one of ours that
//! looks the same, and [`Picture::compare`] says what is different about the next back end. What cannot be shown is listed in
//! words ([`Picture::left_out`]).
//!
//! The back end is not trusted: whatever it says, a picture has bounded size, is taken in a bounded number of questions, and is
//! either one of a function that a guest can use, or an error.
//!
//! What this module does **not** do: it keeps nothing up to date. Registers that are more than facts (COMMAND, interrupts, power)
//! are our own configuration space's, and [`forward`](crate::forward) tells the back end of them.
//!
//! Concurrency: a picture does not change; taking one waits for replies.

mod bytes;
mod capabilities;
mod difference;
mod error;
mod left_out;
mod regions;
mod shape;
mod upstream;

use std::sync::Arc;

use gate::{Deadline, ThreadToken};
use pci_core::{BarIndex, CONFIG_SIZE, ConfigSpace, FIRST_DEVICE_REGION};
use pci_spec::CONFIG_SPACE_SIZE;
use pci_spec::capability::{msi, msix};
use pci_spec::config::{self, BAR_COUNT};
use vfio_user::client::Region;
use vfio_user::codec::{DeviceFlags, DeviceInfo, IrqInfo, RegionInfoFlags, irq_index};

pub use difference::Difference;
pub use error::PictureError;
pub use regions::{OwnRegion, Window};
pub use upstream::Upstream;

use crate::link::LinkError;
use bytes::Bytes;
use left_out::LeftOut;
use shape::Shape;

/// Longest ROM that is carried, in bytes. It is read once, and the consumer reads the copy.
pub const MAX_ROM: u64 = 1 << 20;

/// Region of the ROM, of configuration space, and of VGA, as vfio numbers them (VF-13).
const ROM: u32 = 6;
pub(crate) const CONFIG: u32 = 7;
const VGA: u32 = 8;

/// Bytes that are read at once at most.
const PIECE: usize = 64 << 10;
/// Bytes that a back end has to transfer at once at least.
const LEAST_TRANSFER: usize = 64;

/// Vectors that the back end says it has, cut to what there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vectors {
    /// INTx.
    pub intx: bool,
    /// MSI, 0 to 32.
    pub msi: u16,
    /// MSI-X, 0 to 2048.
    pub msix: u16,
}

/// See the module's head.
#[derive(Debug)]
pub struct Picture {
    shape: Shape,
    own: Vec<OwnRegion>,
    vectors: Vectors,
    /// All of the ROM's bytes.
    rom: Option<Arc<[u8]>>,
    /// Regions with memory that the back end lets be mapped, as it says it does.
    mappable: Vec<(u32, Region)>,
    resets: bool,
    left_out: Vec<String>,
}

/// What the back end says of itself beside its configuration space.
#[derive(Debug, Default)]
struct Facts {
    windows: [Option<Window>; BAR_COUNT],
    rom: Option<u64>,
    vectors: Vectors,
}

impl Facts {
    fn rom_size(&self) -> Option<u64> {
        self.rom.and_then(regions::rom_size)
    }
}

impl Picture {
    /// Asks the back end for everything, until `until` at the latest (and for one reply more).
    ///
    /// # Errors
    /// [`PictureError`] says why no function can be made of it.
    pub fn take(
        token: &mut ThreadToken,
        upstream: &dyn Upstream,
        until: Deadline,
    ) -> Result<Picture, PictureError> {
        Asking { token, upstream, until, left_out: LeftOut::default() }.picture()
    }

    /// A configuration space that looks as the back end's did when the picture was taken, in the state after power-on.
    #[must_use]
    pub fn config_space(&self) -> Arc<ConfigSpace> {
        Arc::new(ConfigSpace::new(self.shape.layout.clone()))
    }

    /// What of the back end a consumer does not see, or sees otherwise, in words. At most a few dozen lines.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What a consumer of this back end would find changed if `now` took its place. Empty: nothing.
    #[must_use]
    pub fn compare(&self, now: &Picture) -> Vec<Difference> {
        difference::between(self, now)
    }

    /// A BAR; `None`: there is none.
    #[must_use]
    pub fn window(&self, bar: BarIndex) -> Option<&Window> {
        self.shape.windows.get(usize::from(bar.get()))?.as_ref()
    }

    /// Where capability `id` of the first 256 bytes stands, if our configuration space has it too.
    #[must_use]
    pub fn capability(&self, id: u8) -> Option<u16> {
        self.shape.carried.iter().find(|carried| carried.id == id).map(|carried| carried.at)
    }

    /// The class code is NVMe's.
    #[must_use]
    pub fn is_nvme(&self) -> bool {
        self.shape.identity.class == pci_spec::ClassCode::NVME
    }

    /// The regions of its own, in the order in which consumers number them.
    #[must_use]
    pub fn own(&self) -> &[OwnRegion] {
        &self.own
    }

    /// The vectors that it says it has.
    #[must_use]
    pub fn vectors(&self) -> Vectors {
        self.vectors
    }

    /// Whether it takes `DEVICE_RESET`.
    #[must_use]
    pub fn resets(&self) -> bool {
        self.resets
    }

    /// The ROM's bytes; what is decoded beyond them reads all-ones.
    #[must_use]
    pub fn rom(&self) -> Option<&Arc<[u8]>> {
        self.rom.as_ref()
    }

    /// Its regions with memory that could be mapped, each with its descriptor, and their numbers.
    pub fn mappable(&self) -> impl Iterator<Item = (u32, &Region)> {
        self.mappable.iter().map(|(number, region)| (*number, region))
    }
}

/// A picture that is being taken.
struct Asking<'a> {
    token: &'a mut ThreadToken,
    upstream: &'a dyn Upstream,
    until: Deadline,
    left_out: LeftOut,
}

impl Asking<'_> {
    fn picture(mut self) -> Result<Picture, PictureError> {
        if self.upstream.transfer_limit() < LEAST_TRANSFER {
            return Err(PictureError::TinyTransfers(self.upstream.transfer_limit()));
        }
        let info = self.ask(|upstream, token| upstream.device_info(token))?;
        if info.flags & DeviceFlags::PCI.bits() == 0 || info.num_regions <= CONFIG {
            return Err(PictureError::NotPci);
        }
        let (mut facts, mut mappable) = (Facts::default(), Vec::new());
        let config = self.config()?;
        self.windows(&config, &mut facts, &mut mappable)?;
        let rom = self.rom(&mut facts)?;
        let own = self.own(&info, &mut mappable)?;
        facts.vectors = self.vectors(&info)?;
        let shape = Shape::of(&config, &facts, &mut self.left_out)?;
        Ok(Picture {
            shape,
            own,
            vectors: facts.vectors,
            rom,
            mappable,
            resets: info.flags & DeviceFlags::RESET.bits() != 0,
            left_out: self.left_out.finish(),
        })
    }

    fn ask<R>(
        &mut self,
        question: impl FnOnce(&dyn Upstream, &mut ThreadToken) -> Result<R, LinkError>,
    ) -> Result<R, PictureError> {
        if self.until.remaining().is_none() {
            return Err(PictureError::TooSlow);
        }
        Ok(question(self.upstream, self.token)?)
    }

    /// The same where the back end may say that there is no such thing.
    fn ask_if<R>(
        &mut self,
        question: impl FnOnce(&dyn Upstream, &mut ThreadToken) -> Result<R, LinkError>,
    ) -> Result<Option<R>, PictureError> {
        match self.ask(question) {
            Ok(answer) => Ok(Some(answer)),
            Err(PictureError::Link(LinkError::Refused { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn config(&mut self) -> Result<Bytes, PictureError> {
        let region = self.ask(|upstream, token| upstream.region_info(token, CONFIG))?;
        let size = usize::try_from(region.info.size).unwrap_or(usize::MAX).min(CONFIG_SIZE);
        if size < CONFIG_SPACE_SIZE || !region.flags().contains(RegionInfoFlags::READ) {
            return Err(PictureError::NoConfig);
        }
        let mut config = Bytes::new();
        let data = config.as_mut().get_mut(..size).unwrap_or_default();
        self.read(CONFIG, data)?;
        let nobody = config.u16(config::VENDOR_ID) == config::VENDOR_ID_ABSENT;
        if nobody { Err(PictureError::NoConfig) } else { Ok(config) }
    }

    /// All of `data`, from the region's beginning.
    fn read(&mut self, region: u32, data: &mut [u8]) -> Result<(), PictureError> {
        let most = self.upstream.transfer_limit().clamp(LEAST_TRANSFER, PIECE);
        for (piece, at) in data.chunks_mut(most).zip((0..).step_by(most)) {
            self.ask(|upstream, token| upstream.read(token, region, at, piece))?;
        }
        Ok(())
    }

    fn windows(
        &mut self,
        config: &Bytes,
        facts: &mut Facts,
        mappable: &mut Vec<(u32, Region)>,
    ) -> Result<(), PictureError> {
        for (index, place) in regions::bars().zip(&mut facts.windows) {
            let number = u32::from(index.get());
            let Some(region) = self.ask_if(|upstream, token| upstream.region_info(token, number))? else {
                continue;
            };
            let Some((window, lost)) = Window::of(index, &region, config)? else { continue };
            if lost {
                self.left_out.add(|| format!("{index}: prefetchable memory, shown as not prefetchable"));
            }
            *place = Some(window);
            keep_mappable(mappable, number, region);
        }
        let vga = self.ask_if(|upstream, token| upstream.region_info(token, VGA))?;
        if vga.is_some_and(|region| region.info.size > 0) {
            self.left_out.add(|| String::from("VGA"));
        }
        Ok(())
    }

    fn rom(&mut self, facts: &mut Facts) -> Result<Option<Arc<[u8]>>, PictureError> {
        let region = self.ask_if(|upstream, token| upstream.region_info(token, ROM))?;
        let region = region.filter(|region| region.info.size > 0);
        let Some(region) = region else { return Ok(None) };
        let (size, readable) = (region.info.size, region.flags().contains(RegionInfoFlags::READ));
        let length = usize::try_from(size).ok().filter(|_| size <= MAX_ROM && readable);
        let Some(length) = length else {
            self.left_out.add(|| format!("ROM of {size:#x} bytes: more than 1 MiB, or it cannot be read"));
            return Ok(None);
        };
        let mut data = vec![0; length];
        match self.read(ROM, &mut data) {
            Ok(()) => {
                facts.rom = Some(size);
                Ok(Some(data.into()))
            }
            Err(PictureError::Link(LinkError::Refused { .. })) => {
                self.left_out.add(|| String::from("ROM: the back end refuses to read it"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn own(
        &mut self,
        info: &DeviceInfo,
        mappable: &mut Vec<(u32, Region)>,
    ) -> Result<Vec<OwnRegion>, PictureError> {
        let mut own = Vec::new();
        let last = info.num_regions.min(FIRST_DEVICE_REGION + regions::MAX_OWN);
        for number in FIRST_DEVICE_REGION..last {
            let Some(region) = self.ask_if(|upstream, token| upstream.region_info(token, number))? else {
                continue;
            };
            match regions::own(number, &region) {
                Some(found) => {
                    own.push(found);
                    keep_mappable(mappable, number, region);
                }
                None => self.left_out.add(|| format!("region {number}: no type, or nothing to read")),
            }
        }
        if info.num_regions > last {
            let more = info.num_regions - last;
            self.left_out.add(|| format!("{more} regions of its own, beyond {}", regions::MAX_OWN));
        }
        Ok(own)
    }

    fn vectors(&mut self, info: &DeviceInfo) -> Result<Vectors, PictureError> {
        let [intx, msi, msix] =
            [(irq_index::INTX, 1), (irq_index::MSI, msi::MAX_VECTORS), (irq_index::MSIX, msix::MAX_VECTORS)]
                .map(|(index, most)| -> Result<u16, PictureError> {
                    if index >= info.num_irqs {
                        return Ok(0);
                    }
                    let count = self.ask_if(|upstream, token| upstream.irq_info(token, index))?;
                    let count = count.map_or(0, |IrqInfo { count, .. }| count);
                    Ok(u16::try_from(count).unwrap_or(u16::MAX).min(most))
                });
        Ok(Vectors { intx: intx? != 0, msi: msi?, msix: msix? })
    }
}

/// What cannot be mapped keeps no descriptor.
fn keep_mappable(mappable: &mut Vec<(u32, Region)>, number: u32, region: Region) {
    if !region.mappable().is_empty() {
        mappable.push((number, region));
    }
}
