//! A function whose registers are a back end's.
//!
//! [`build`] makes it of a [`Picture`]. Its configuration space is ours, with everything that a consumer needs of gate, containment
//! and interrupts; reads of BARs and regions are forwarded and waited for ([`Waits`]), writes are posted in order, the ROM is a
//! copy. Resets, and what the consumer writes to COMMAND, MSI and MSI-X, the back end is told before the next access
//! (`shared`). In mode `passthrough` the back end's own memory is passed on (`memory`).
//!
//! The back end may be exchanged ([`Forward::attach`], [`Forward::detach`]). While there is none, accesses find no answer: whoever
//! owns the function has frozen it by then.
//!
//! What this module does **not** do: DMA and interrupts ([`relay`](crate::relay)), and it does not decide what a lost back end means.
//!
//! # Concurrency
//! Accesses run side by side, under long passes; the link puts them into an order. One thread for each function tells the back end
//! what no access has.

mod memory;
mod reset;
mod shared;
mod told;

use std::io;
use std::sync::Arc;

use assign::{Assignment, EventSink, Limits, Port, Reporter};
use gate::{Deadline, Gate, LongPass, Pass, Quiesced, Subscription, ThreadToken, Wake};
use pci_core::{
    BarIndex, BlockRefused, Command, Device, DeviceRegion, Function, Mappable, NoAnswer, ResetKind,
    WaitRegion, Waits,
};
use pci_spec::config::BAR_COUNT;
use thiserror::Error;

use crate::link::{LinkError, Loss};
use crate::picture::{Difference, Picture, Upstream};
use memory::pass_on;
use reset::Reset;
use shared::Shared;
use told::Places;

/// Why an access fails while there is no back end.
const AWAY: &str = "the back end is away";

/// How much of a back end is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Memory that the back end lets be mapped is passed on to consumers.
    pub pass_on_memory: bool,
    /// Also memory that the back end could shrink under a consumer, which ends the consumer (SIGBUS).
    pub accept_unsealed: bool,
}

/// Why the function was not built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The system has no thread left.
    #[error("no thread for the function: {0}")]
    Thread(#[source] io::Error),
}

/// The device behind such a function.
pub struct Forward {
    shared: Arc<Shared>,
    config: ForwardConfig,
    windows: [u64; BAR_COUNT],
    rom: Option<Arc<[u8]>>,
    /// As consumers see them.
    own: Vec<DeviceRegion>,
    /// As the back end numbers them.
    numbers: Vec<u32>,
    _news: Subscription,
}

/// Builds the function, without a back end at first, and what a consumer needs to use it. `placed` sees the function before
/// anybody else does.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    gate: Gate,
    config: &ForwardConfig,
    picture: &Picture,
    events: Arc<dyn EventSink>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<(Arc<Assignment>, Arc<Forward>), BuildError> {
    let space = picture.config_space();
    let name = gate.name().to_owned();
    let port = Port::new(&gate, Arc::clone(&space), Arc::clone(&events));
    let (places, reset) = (Places::of(picture), Reset::of(picture));
    let shared = Arc::new(Shared::new(gate.handle(), Arc::clone(&space), places, reset));
    let (passed, left_out) = pass_on(picture, config);
    shared.exchange(None, Some((passed, left_out)));
    let news = gate.handle().subscribe(Arc::clone(&shared) as Arc<dyn Wake>);
    let forward = Arc::new(Forward {
        shared: Arc::clone(&shared),
        config: *config,
        windows: std::array::from_fn(|index| bytes(picture, index)),
        rom: picture.rom().cloned(),
        own: picture.own().iter().map(|own| own.region).collect(),
        numbers: picture.own().iter().map(|own| own.number).collect(),
        _news: news,
    });
    let thread = std::thread::Builder::new().name(String::from("forward"));
    thread.spawn(move || shared.run()).map_err(BuildError::Thread)?;
    let device = Arc::clone(&forward) as Arc<dyn Device>;
    let function = Function::new(name, gate, space, device).observed_by(Reporter::new(events));
    let function = Arc::new(placed(function));
    Ok((Assignment::new(function, port, Limits::default()), forward))
}

fn bytes(picture: &Picture, index: usize) -> u64 {
    let bar = u8::try_from(index).ok().and_then(BarIndex::new);
    bar.and_then(|bar| picture.window(bar)).map_or(0, |window| window.bytes)
}

impl Forward {
    /// From now on this is the back end. It is reset, and told what the consumer has set up, before the first access. Its DMA map
    /// and interrupts are set up already; `now` is its picture, which differs in nothing that a consumer would notice.
    pub fn attach(&self, upstream: Arc<dyn Upstream>, now: &Picture) {
        let same = self.in_use().is_empty();
        let memory = same.then(|| pass_on(now, &self.config));
        self.shared.exchange(Some(upstream), memory);
    }

    /// There is no back end any more. Accesses that are under way end with their link.
    pub fn detach(&self) {
        self.shared.exchange(None, None);
    }

    /// Memory of the last back end that a consumer still has, so that another one cannot take its place: what the consumer
    /// stores there would reach nobody.
    #[must_use]
    pub fn in_use(&self) -> Vec<Difference> {
        let state = self.shared.state();
        let held = state.passed.iter().filter(|passed| passed.is_in_use());
        held.map(|passed| Difference::Memory { region: passed.region }).collect()
    }

    /// Memory of the back end that is not passed on, and why.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        self.shared.state().left_out.clone()
    }

    /// How the back end numbers a region, and how many bytes of it there are. Not the ROM.
    fn target(&self, region: WaitRegion) -> Option<(u32, u64)> {
        match region {
            WaitRegion::Bar(bar) => {
                self.windows.get(usize::from(bar.get())).map(|bytes| (bar.get().into(), *bytes))
            }
            WaitRegion::Own(nth) => Some((*self.numbers.get(nth)?, self.own.get(nth)?.size)),
        }
    }

    /// What lies beyond the image reads all-ones (VF-16).
    fn read_rom(&self, offset: u64, data: &mut [u8]) {
        let image = self.rom.as_deref().unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|offset| image.get(offset..)).unwrap_or_default();
        data.iter_mut().zip(rest).for_each(|(byte, image)| *byte = *image);
    }
}

/// How many of `length` bytes from `offset` lie in a region of `bytes`.
fn inside_of(bytes: u64, offset: u64, length: usize) -> usize {
    usize::try_from(bytes.saturating_sub(offset)).unwrap_or(usize::MAX).min(length)
}

impl Waits for Forward {
    fn read(
        &self,
        token: &mut ThreadToken,
        _inside: &LongPass,
        region: WaitRegion,
        offset: u64,
        data: &mut [u8],
        until: Deadline,
    ) -> Result<(), NoAnswer> {
        data.fill(0xff);
        if region == WaitRegion::Bar(BarIndex::ROM) {
            self.read_rom(offset, data);
            return Ok(());
        }
        let (number, bytes) = self.target(region).ok_or(NoAnswer::Refused)?;
        let upstream = self.shared.settled(token, until)?;
        let (data, _beyond) = data.split_at_mut(inside_of(bytes, offset, data.len()));
        let most = upstream.transfer_limit().max(1);
        for (piece, at) in data.chunks_mut(most).zip((offset..).step_by(most)) {
            upstream.read(token, number, at, piece).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn write(
        &self,
        token: &mut ThreadToken,
        _inside: &LongPass,
        region: WaitRegion,
        offset: u64,
        data: &[u8],
        until: Deadline,
    ) -> Result<(), NoAnswer> {
        let (number, bytes) = self.target(region).ok_or(NoAnswer::Refused)?;
        let upstream = self.shared.settled(token, until)?;
        let (data, _beyond) = data.split_at(inside_of(bytes, offset, data.len()));
        let most = upstream.transfer_limit().max(1);
        for (piece, at) in data.chunks(most).zip((offset..).step_by(most)) {
            upstream.post(token, number, at, piece).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

impl Device for Forward {
    fn waits(&self) -> Option<&dyn Waits> {
        Some(self)
    }

    /// Under a pass nobody can wait for the back end.
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        _offset: u64,
        _data: &[u8],
    ) -> Result<(), BlockRefused> {
        Err(BlockRefused::NotAccepted)
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let Forward { shared, config: _, windows: _, rom: _, own: _, numbers: _, _news: _ } = self;
        shared.owe_reset();
    }

    fn command_changed(&self, _pass: &Pass<'_>, _old: Command, _new: Command) {
        self.shared.stir();
    }

    fn interrupts_changed(&self, _pass: &Pass<'_>) {
        self.shared.stir();
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let state = self.shared.state();
        state.passed.iter().find(|passed| passed.region == region).map(|passed| passed.mappable.clone())
    }

    fn regions(&self) -> &[DeviceRegion] {
        &self.own
    }

    fn describe(&self) -> Vec<(String, String)> {
        let memory = |size: u64| format!("{size:#x} bytes");
        let windows = self.windows.iter().enumerate().filter(|(_, bytes)| **bytes > 0);
        let windows = windows.map(|(index, bytes)| (format!("BAR {index}"), memory(*bytes)));
        let state = self.shared.state();
        let passed = state.passed.iter().map(|passed| passed.mappable.memory.size()).sum();
        let here = if state.is_attached() { "connected" } else { "away" };
        drop(state);
        let mut facts = vec![(String::from("back end"), here.to_owned())];
        facts.extend(windows);
        facts.push((String::from("memory passed on"), memory(passed)));
        facts
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// What an access hears of a call that failed.
fn failed(error: &LinkError) -> NoAnswer {
    match error {
        LinkError::Refused { .. } | LinkError::Request(_) => NoAnswer::Refused,
        // Whoever has the link tells of its loss; each access that meets it is no other sign.
        LinkError::Lost(loss) => NoAnswer::Away(words(loss)),
        _ => NoAnswer::Away("the back end is lost"),
    }
}

/// Words that need no memory: they go where an error is noticed.
fn words(loss: &Loss) -> &'static str {
    match loss {
        Loss::Closed => "the back end closed the connection",
        Loss::Hung { .. } => "the back end did not answer in time",
        Loss::Unread => "the back end does not read what is sent to it",
        Loss::Nonsense(_) => "the back end answered nonsense",
        Loss::Cut(_) => "the connection to the back end was cut",
        _ => "the back end is lost",
    }
}
