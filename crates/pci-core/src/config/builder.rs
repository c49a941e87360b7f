//! Builds a configuration space and refuses one that no guest could use.

use super::bar::{self, BarIndex, BarKind, BarLayout};
use super::bridge;
use super::capability::Capability;
use super::draft::Draft;
use super::encode::Facts;
use super::extended::ExtendedCapability;
use super::layout::{HeaderKind, InterruptLayout, Layout, Register, Traits};
use super::{ConfigSpace, LayoutError};
use pci_spec::bridge as type1;
use pci_spec::capability::{self, msix};
use pci_spec::config::{self, InterruptPin};
use pci_spec::{CONFIG_SPACE_SIZE, ClassCode, Command, EXTENDED_CONFIG_SPACE_SIZE, Status};
use pci_spec::{bar::rom_writable_mask, command, extended, status};
use std::ops::Range;
use std::sync::Arc;

/// What a function is: the read-only identification in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Class code.
    pub class: ClassCode,
    /// Revision ID.
    pub revision: u8,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
}

impl Identity {
    /// A function of revision 0 that is its own subsystem.
    #[must_use]
    pub const fn new(vendor: u16, device: u16, class: ClassCode) -> Identity {
        Identity { vendor, device, class, revision: 0, subsystem_vendor: vendor, subsystem: device }
    }
}

/// A configuration space under construction.
///
/// Capabilities are chained in the order in which they are added. Nothing is checked before
/// [`layout`](ConfigSpaceBuilder::layout) or [`build`](ConfigSpaceBuilder::build).
#[derive(Clone, Debug)]
#[must_use]
pub struct ConfigSpaceBuilder {
    identity: Identity,
    header: HeaderKind,
    immediate_readiness: bool,
    bars: Vec<BarLayout>,
    rom: Option<u64>,
    intx: InterruptPin,
    multi_function: bool,
    capabilities: Vec<(Option<u16>, Capability)>,
    extended: Vec<ExtendedCapability>,
}

impl ConfigSpaceBuilder {
    pub(super) fn new(identity: Identity, header: HeaderKind) -> ConfigSpaceBuilder {
        ConfigSpaceBuilder {
            identity,
            header,
            immediate_readiness: false,
            bars: Vec::new(),
            rom: None,
            intx: InterruptPin::None,
            multi_function: false,
            capabilities: Vec::new(),
            extended: Vec::new(),
        }
    }

    /// Adds a BAR of `size` bytes; a 64-bit one also takes the register after `index`.
    pub fn bar(mut self, index: BarIndex, kind: BarKind, size: u64) -> Self {
        self.bars.push(BarLayout { index, kind, size });
        self
    }

    /// Adds an expansion ROM of `size` bytes, 2 KiB to 16 MiB.
    pub fn rom(mut self, size: u64) -> Self {
        self.rom = Some(size);
        self
    }

    /// Gives the function an INTx pin.
    pub fn intx(mut self, pin: InterruptPin) -> Self {
        self.intx = pin;
        self
    }

    /// Says that the device has more than one function.
    pub fn multi_function(mut self) -> Self {
        self.multi_function = true;
        self
    }

    /// Says that the function may be accessed right after a reset, without the usual delay (RST-05).
    pub fn immediate_readiness(mut self) -> Self {
        self.immediate_readiness = true;
        self
    }

    /// Adds a capability at the first offset where it fits.
    pub fn capability(mut self, capability: impl Into<Capability>) -> Self {
        self.capabilities.push((None, capability.into()));
        self
    }

    /// Adds a capability at `offset`, for a device whose drivers expect it there.
    pub fn capability_at(mut self, offset: u16, capability: impl Into<Capability>) -> Self {
        self.capabilities.push((Some(offset), capability.into()));
        self
    }

    /// Adds an extended capability after those added before; the first stands at 0x100.
    pub fn extended_capability(mut self, capability: ExtendedCapability) -> Self {
        self.extended.push(capability);
        self
    }

    /// Adds Advanced Error Reporting.
    pub fn aer(self) -> Self {
        self.extended_capability(ExtendedCapability::Aer)
    }

    /// Builds one configuration space with its power-on values.
    ///
    /// # Errors
    /// [`LayoutError`] says what does not fit together.
    pub fn build(&self) -> Result<ConfigSpace, LayoutError> {
        Ok(ConfigSpace::new(self.layout()?))
    }

    /// Builds what all functions of this make share; see [`ConfigSpace::new`].
    ///
    /// # Errors
    /// [`LayoutError`] says what does not fit together.
    pub fn layout(&self) -> Result<Arc<Layout>, LayoutError> {
        let mut draft = Draft::new();
        let bars = self.lay_out_bars(&mut draft)?;
        let rom_size = self.lay_out_rom(&mut draft)?;
        self.lay_out_header(&mut draft);
        let mut facts = Facts {
            interrupts: InterruptLayout { intx: self.intx, ..InterruptLayout::default() },
            traits: Traits {
                header: self.header,
                immediate_readiness: self.immediate_readiness,
                ..Traits::default()
            },
            ..Facts::default()
        };
        self.lay_out_capabilities(&mut draft, &mut facts)?;
        self.lay_out_extended(&mut draft, &bars, &mut facts)?;
        check_msix(&facts.interrupts, &bars)?;
        let (initial, rules) = draft.pack();
        let Facts { positions, interrupts, power, traits } = facts;
        let bars = bars.into();
        Ok(Arc::new(Layout { initial, rules, bars, rom_size, positions, interrupts, power, traits }))
    }

    fn lay_out_bars(&self, draft: &mut Draft) -> Result<Vec<BarLayout>, LayoutError> {
        let mut bars = self.bars.clone();
        bars.sort_by_key(|bar| bar.index);
        let mut free = config::BAR0;
        for bar in &bars {
            bar.check()?;
            if self.header == HeaderKind::Bridge && usize::from(bar.index.get()) >= type1::BAR_COUNT {
                return Err(LayoutError::BarPosition(bar.index));
            }
            if bar.index.register() < free {
                return Err(LayoutError::BarTwice(bar.index));
            }
            free = bar.index.register();
            for (value, writable) in bar.dwords() {
                draft.put(free, value);
                draft.writable(free, writable);
                draft.register(free, Register::Bar);
                free += 4;
            }
        }
        Ok(bars)
    }

    fn lay_out_rom(&self, draft: &mut Draft) -> Result<Option<u32>, LayoutError> {
        let Some(size) = self.rom else { return Ok(None) };
        if self.header != HeaderKind::Endpoint {
            return Err(LayoutError::Field {
                name: "ROM",
                what: "not modelled in bridges, and VFs have none",
            });
        }
        let size = bar::check_rom(size)?;
        draft.writable(config::ROM_BAR, rom_writable_mask(size));
        draft.register(config::ROM_BAR, Register::Bar);
        Ok(Some(size))
    }

    fn lay_out_header(&self, draft: &mut Draft) {
        let id = &self.identity;
        draft.put(config::VENDOR_ID, id.vendor);
        draft.put(config::DEVICE_ID, id.device);
        draft.put(config::REVISION_ID, id.revision);
        for (offset, byte) in (config::CLASS_CODE..).zip(id.class.to_bytes()) {
            draft.put(offset, byte);
        }
        if self.header == HeaderKind::Bridge {
            draft.put(config::HEADER_TYPE, config::HEADER_LAYOUT_BRIDGE);
            bridge::lay_out(draft);
        } else {
            draft.put(config::SUBSYSTEM_VENDOR_ID, id.subsystem_vendor);
            draft.put(config::SUBSYSTEM_ID, id.subsystem);
        }
        if self.immediate_readiness {
            draft.put(config::STATUS, Status::IMMEDIATE_READINESS.bits());
        }
        draft.put(config::INTERRUPT_PIN, self.intx.to_byte());
        if self.multi_function {
            draft.put(config::HEADER_TYPE, config::HEADER_MULTI_FUNCTION);
        }
        draft.writable(config::COMMAND, self.command_writable().bits());
        draft.clear(config::STATUS, status::STATUS_RW1C.bits());
        draft.register(config::COMMAND, Register::Command);
        draft.writable(config::CACHE_LINE_SIZE, u8::MAX);
        draft.writable(config::INTERRUPT_LINE, u8::MAX);
    }

    /// A bit that would switch something the function does not have is read-only 0.
    fn command_writable(&self) -> Command {
        let mut writable = command::COMMAND_RW;
        let memory = self.rom.is_some() || self.bars.iter().any(|bar| bar.kind.is_memory());
        let io = self.bars.iter().any(|bar| !bar.kind.is_memory());
        // A bridge forwards both to its windows.
        let bridge = self.header == HeaderKind::Bridge;
        writable.set(Command::MEMORY_SPACE, memory || bridge);
        writable.set(Command::IO_SPACE, io || bridge);
        writable.set(Command::INTERRUPT_DISABLE, self.intx != InterruptPin::None);
        writable
    }

    fn lay_out_capabilities(&self, draft: &mut Draft, facts: &mut Facts) -> Result<(), LayoutError> {
        if !self.capabilities.is_empty() {
            draft.put(config::STATUS, Status::CAPABILITIES_LIST.bits());
        }
        let mut link = config::CAPABILITIES_POINTER;
        for (at, capability) in self.place()? {
            let pointer = u8::try_from(at).map_err(|_| LayoutError::NoRoom(capability.name()))?;
            draft.put(link, pointer);
            draft.put(at + capability::ID, capability.id());
            draft.extend_to(at + capability.length()?);
            capability.encode(draft, at, facts)?;
            link = at + capability::NEXT;
        }
        Ok(())
    }

    /// Finds a place for every capability: first those that ask for one, then the others in the gaps.
    fn place(&self) -> Result<Vec<(u16, &Capability)>, LayoutError> {
        let mut taken: Vec<Range<u16>> = Vec::new();
        for (index, (offset, capability)) in self.capabilities.iter().enumerate() {
            let name = capability.name();
            let vendor = matches!(capability, Capability::Vendor(_));
            let before = self.capabilities.iter().take(index);
            if !vendor && before.into_iter().any(|(_, other)| other.id() == capability.id()) {
                return Err(LayoutError::DuplicateCapability(name));
            }
            let Some(offset) = *offset else { continue };
            let place = span(offset, capability.length()?)
                .filter(|place| place.start % 4 == 0 && place.start >= capability::FIRST_OFFSET)
                .ok_or(LayoutError::CapabilityOffset { name, offset })?;
            if taken.iter().any(|other| overlap(other, &place)) {
                return Err(LayoutError::Overlap { name, offset });
            }
            taken.push(place);
        }
        let mut places = Vec::with_capacity(self.capabilities.len());
        for (offset, capability) in &self.capabilities {
            let at = match *offset {
                Some(offset) => offset,
                None => {
                    let place = first_gap(&taken, capability.length()?)
                        .ok_or(LayoutError::NoRoom(capability.name()))?;
                    let at = place.start;
                    taken.push(place);
                    at
                }
            };
            places.push((at, capability));
        }
        Ok(places)
    }

    fn lay_out_extended(
        &self,
        draft: &mut Draft,
        bars: &[BarLayout],
        facts: &mut Facts,
    ) -> Result<(), LayoutError> {
        let mut at = extended::FIRST_OFFSET;
        for (index, capability) in self.extended.iter().enumerate() {
            let name = capability.name();
            if facts.positions.express.is_none() {
                return Err(LayoutError::NeedsExpress(name));
            }
            if self.extended.iter().take(index).any(|other| other.id() == capability.id()) {
                return Err(LayoutError::DuplicateCapability(name));
            }
            let (version, length) = capability.shape();
            let end = at + length;
            if usize::from(end) > EXTENDED_CONFIG_SPACE_SIZE {
                return Err(LayoutError::NoRoom(name));
            }
            let next = if index + 1 == self.extended.len() { 0 } else { end };
            let header = extended::Header { id: capability.id(), version, next };
            draft.put(at, header.encode());
            draft.extend_to(end);
            capability.encode(draft, at, bars, facts)?;
            at = end;
        }
        Ok(())
    }
}

/// The bytes of a capability, if they end within the first 256.
fn span(start: u16, length: u16) -> Option<Range<u16>> {
    let end = start.checked_add(length)?;
    if usize::from(end) <= CONFIG_SPACE_SIZE { Some(start..end) } else { None }
}

fn overlap(one: &Range<u16>, other: &Range<u16>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The lowest place of `length` bytes that touches nothing taken.
fn first_gap(taken: &[Range<u16>], length: u16) -> Option<Range<u16>> {
    let candidates = std::iter::once(capability::FIRST_OFFSET).chain(taken.iter().map(|place| place.end));
    let fitting = candidates.filter_map(|start| span(start, length));
    fitting.filter(|place| !taken.iter().any(|other| overlap(other, place))).min_by_key(|place| place.start)
}

fn check_msix(interrupts: &InterruptLayout, bars: &[BarLayout]) -> Result<(), LayoutError> {
    let Some(layout) = interrupts.msix else { return Ok(()) };
    let inside = |what, place: msix::Location, length: u32| {
        let start = u64::from(place.offset);
        let end = start + u64::from(length);
        let bar = bars.iter().find(|bar| bar.index.get() == place.bar);
        match bar {
            Some(bar) if bar.kind.is_memory() && end <= bar.size => Ok(start..end),
            _ => Err(LayoutError::MsixPlace(what)),
        }
    };
    let table = inside("table", layout.table, msix::table_length(layout.vectors))?;
    let pba = inside("pending bits", layout.pba, msix::pba_length(layout.vectors))?;
    let same_bar = layout.table.bar == layout.pba.bar;
    if same_bar && table.start < pba.end && pba.start < table.end {
        return Err(LayoutError::MsixOverlap);
    }
    Ok(())
}
