//! Interrupts: what the device signals and what the consumer wired to it (VF-30 to VF-36).
//!
//! # Concurrency
//! Signalling reads the wiring under a pass and takes no lock (VF-36). The consumer's changes are planned on a
//! copy under `control`, then published under `close_short`; `control` is not held while the gate closes.
//! Eventfds are closed after the gate has reopened. INTx level and mask are one atomic word (module `line`).

mod error;
mod line;
mod request;
mod tapped;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use gate::lock::Lock;
use gate::{
    AccessKind, CloseError, Deadline, Gate, GateCell, Handle, Held, Pass, Reason, Refusal, ThreadToken,
};
use pci_core::ConfigSpace;
use pci_spec::Command;

pub(crate) use request::Counts;
pub use request::{IrqAction, IrqData, IrqIndex, IrqInfo, IrqInfoFlags, IrqMode, SetIrqs};

use crate::dma::closing;
use crate::error::{Errno, RequestError};
use crate::eventfd::EventFd;
use crate::ranks;
use crate::relay::InterruptRelay;
use crate::tap::InterruptTap;
use error::ErrorNotifier;
use line::Line;
use request::Vectors;

/// The interrupts of one function.
pub struct Interrupts {
    gate: Gate,
    handle: Handle,
    config: Arc<ConfigSpace>,
    counts: Counts,
    line: Line,
    error: ErrorNotifier,
    wiring: GateCell<Wiring>,
    /// The truth. Rank: 61, interrupt control; also taken under `ShortQuiesced`. Descriptors, which no atomic can keep.
    control: Lock<ranks::InterruptControl, Wiring>,
    /// The published mode, for a device that asks without reading the wiring; `mode_code`.
    mode: AtomicU8,
    dropped: AtomicU64,
    /// Who follows the wiring elsewhere.
    relay: OnceLock<Arc<dyn InterruptRelay>>,
}

/// What a consumer uses of a function's interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What it has enabled.
    pub mode: Option<IrqMode>,
    /// Vectors up to the last that it listens to; 0 if to none.
    pub vectors: usize,
}

/// Which eventfds the consumer wired to what.
#[derive(Clone, Default)]
struct Wiring {
    mode: Option<IrqMode>,
    /// One for each vector of the index in use (INTx: one), empty if none is.
    vectors: Box<[Option<Arc<EventFd>>]>,
    request: Option<Arc<EventFd>>,
    /// Whom to ask before a signal.
    tap: Option<Arc<dyn InterruptTap>>,
}

impl Interrupts {
    pub(crate) fn new(gate: &Gate, handle: Handle, config: Arc<ConfigSpace>) -> Interrupts {
        let counts = Counts::new(&config.interrupt_layout());
        Interrupts {
            gate: gate.clone(),
            handle,
            config,
            counts,
            line: Line::default(),
            error: ErrorNotifier::new(),
            wiring: GateCell::new(gate, Wiring::default()),
            control: Lock::default(),
            mode: AtomicU8::new(mode_code(None)),
            dropped: AtomicU64::new(0),
            relay: OnceLock::new(),
        }
    }

    /// False if somebody follows already.
    pub(crate) fn set_relay(&self, relay: Arc<dyn InterruptRelay>) -> bool {
        self.relay.set(relay).is_ok()
    }

    /// Signals an MSI or MSI-X vector. Dropped and counted if the consumer has not wired it, uses another kind, or
    /// may not master the bus: a message is a memory write.
    #[inline]
    pub fn signal(&self, pass: &Pass<'_>, vector: u16) {
        let wiring = self.wiring.get(pass);
        let wired = self.message(wiring, vector);
        match &wiring.tap {
            None => self.deliver(wired),
            Some(tap) => self.deliver_tapped(&**tap, wired, vector),
        }
    }

    /// Whom a message is for.
    #[inline]
    fn message<'w>(&self, wiring: &'w Wiring, vector: u16) -> Option<&'w Arc<EventFd>> {
        match wiring.mode {
            Some(IrqMode::Msi | IrqMode::Msix) if self.config.masters_bus() && !self.line.is_held() => {
                wiring.vectors.get(usize::from(vector)).and_then(Option::as_ref)
            }
            _ => None,
        }
    }

    /// Sets the level of the INTx line and of the Interrupt Status bit. Asserted, enabled and not masked, it masks
    /// itself and signals; the consumer's unmask signals again while the level lasts. While the consumer disables
    /// INTx or uses MSI the level is only remembered.
    ///
    /// A proof does in place of a pass, for a reset that deasserts.
    pub fn set_intx(&self, held: &impl Held, asserted: bool) {
        self.config.set_intx_status(asserted);
        self.line.set_level(asserted);
        self.fire_line(self.wiring.get(held));
    }

    /// What the consumer has enabled. One load.
    #[inline]
    pub fn mode(&self) -> Option<IrqMode> {
        let code = self.mode.load(Ordering::Relaxed);
        [IrqMode::Intx, IrqMode::Msi, IrqMode::Msix].into_iter().find(|mode| mode_code(Some(*mode)) == code)
    }

    /// Interrupts dropped since the function was made.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Holds all interrupts back: from now on nothing is signalled to the consumer's vectors, until [`Interrupts::release`].
    /// Messages are dropped and counted; the level of INTx is remembered. For an error that is contained.
    pub fn hold(&self) {
        self.line.hold();
    }

    /// Ends that, and signals an INTx level that was asserted meanwhile, unless the function is closed or frozen just now: its
    /// model sets the level again when it resumes. Waits for nothing, so it may come while its caller has the function closed.
    /// Messages are not repeated, so this comes before the function may use memory again, without which it has none to send.
    pub fn release(&self, token: &ThreadToken) {
        self.line.release();
        if let Ok(pass) = self.handle.try_enter(token, AccessKind::Interrupt) {
            self.fire_line(self.wiring.get(&pass));
        }
    }

    /// Whether interrupts are held back.
    pub fn is_held(&self) -> bool {
        self.line.is_held()
    }

    /// Tells the consumer of an error of the function (VF-35). Needs no pass: the function is frozen by then. False: it has
    /// not said how it wants to be told, or is not offered it.
    pub fn signal_error(&self, token: &ThreadToken) -> bool {
        self.error.signal(token)
    }

    /// Has the consumer find an error notifier, if the function is PCI Express (VF-30). Before it can ask: QEMU sets one wherever it
    /// finds one, and stops the machine when it is signalled.
    pub fn offer_errors(&self) {
        if self.config.layout().port_type().is_some() {
            self.error.offer();
        }
    }

    /// Asks the consumer to let the function go (VF-35). False: it has not said how it wants to be asked.
    pub fn request_release(&self, pass: &Pass<'_>) -> bool {
        self.wiring.get(pass).request.as_ref().is_some_and(|request| request.signal())
    }

    pub(crate) fn info(&self, index: u32) -> Result<IrqInfo, RequestError> {
        Ok(self.counts().info(IrqIndex::new(index)?))
    }

    fn counts(&self) -> Counts {
        self.counts.with_errors(self.error.is_offered())
    }

    /// Signals a line that became free to: after an unmask, or when the consumer enables INTx in COMMAND.
    pub(crate) fn refire(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), RequestError> {
        match self.handle.enter(token, AccessKind::Interrupt, deadline) {
            Ok(pass) => {
                self.fire_line(self.wiring.get(&pass));
                Ok(())
            }
            // A frozen function interrupts nobody; its model sets the level again when it resumes.
            Err(Refusal::Frozen) => Ok(()),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// Carries out a request of the consumer's.
    pub(crate) fn set(
        &self,
        token: &mut ThreadToken,
        request: SetIrqs<'_>,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let (index, vectors) = request.validate(&self.counts())?;
        let mode = match index {
            IrqIndex::Intx => Some(IrqMode::Intx),
            IrqIndex::Msi => Some(IrqMode::Msi),
            IrqIndex::Msix => Some(IrqMode::Msix),
            IrqIndex::Err => return self.set_error(token, request, deadline),
            IrqIndex::Req => None,
        };
        match request.action {
            IrqAction::Mask | IrqAction::Unmask => self.set_mask(token, index, &request, deadline),
            IrqAction::Trigger if request.disables() => {
                self.change(token, deadline, |wiring| {
                    match mode {
                        None => wiring.request = None,
                        // Another kind is in use, or none: there is nothing to disable.
                        Some(_) if wiring.mode != mode => {}
                        Some(_) => wiring.disable(),
                    }
                    Ok(())
                })
            }
            IrqAction::Trigger => match request.data {
                IrqData::Eventfd(fds) => {
                    let mut fds = verify(fds, vectors.count)?;
                    match mode {
                        None => self.change(token, deadline, |wiring| {
                            wiring.request = fds.pop().flatten();
                            Ok(())
                        }),
                        Some(mode) => self.enable(token, mode, vectors, fds, deadline),
                    }
                }
                IrqData::None => self.loop_back(token, mode, vectors, |_| true, deadline),
                IrqData::Bool(bytes) => self.loop_back(
                    token,
                    mode,
                    vectors,
                    |nth| bytes.get(nth).is_some_and(|b| *b != 0),
                    deadline,
                ),
            },
        }
    }

    /// VF-35: as index REQ, but not behind the gate.
    fn set_error(
        &self,
        token: &mut ThreadToken,
        request: SetIrqs<'_>,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        if request.action != IrqAction::Trigger {
            return Err(RequestError::new(Errno::ENOTTY, "only INTx can be masked"));
        }
        let wired = match request.data {
            IrqData::None if request.count == 0 => None,
            IrqData::None => return self.error.loop_back(token, true),
            IrqData::Bool(bytes) => {
                return self.error.loop_back(token, bytes.first().is_some_and(|b| *b != 0));
            }
            IrqData::Eventfd(fds) => verify(fds, 1)?.pop().flatten(),
        };
        self.error.wire(token, wired, deadline);
        Ok(())
    }

    /// Takes everything away that the consumer wired. The level, which is the device's, stays.
    ///
    /// # Errors
    /// The wiring that the device sees could not be replaced. Its eventfds are cut off then: the consumer's are let go all
    /// the same, and signals reach nobody.
    pub(crate) fn clear(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), CloseError> {
        let before = {
            let mut control = self.control.lock(token);
            let cleared = Wiring { tap: control.tap.clone(), ..Wiring::default() };
            std::mem::replace(&mut *control, cleared)
        };
        self.line.unmask();
        self.error.wire(token, None, deadline);
        let published = self.publish(token, deadline);
        self.tell_relay(token, deadline);
        if published.is_err() {
            before.vectors.iter().flatten().chain(&before.request).for_each(|wired| wired.sever());
        }
        // With nothing locked or closed: closing descriptors takes its time.
        drop(before);
        published
    }

    /// VF-32: only INTx can be masked, and only while it is enabled.
    fn set_mask(
        &self,
        token: &mut ThreadToken,
        index: IrqIndex,
        request: &SetIrqs<'_>,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        if index != IrqIndex::Intx {
            return Err(RequestError::new(Errno::ENOTTY, "only INTx can be masked"));
        }
        let unmask = request.action == IrqAction::Unmask;
        match &request.data {
            // Taking away what can never be there.
            IrqData::Eventfd(fds) if unmask && fds.is_empty() => return Ok(()),
            IrqData::Eventfd(_) => {
                return Err(RequestError::new(Errno::ENOTTY, "masking through an eventfd is not offered"));
            }
            _ if self.mode() != Some(IrqMode::Intx) || request.count != 1 => {
                return Err(RequestError::invalid("INTx is not enabled"));
            }
            IrqData::Bool(bytes) if bytes.first() == Some(&0) => return Ok(()),
            IrqData::Bool(_) | IrqData::None => {}
        }
        if unmask {
            if let Some(relay) = self.relay.get() {
                relay.unmasking(token, deadline);
            }
            self.line.unmask();
            self.refire(token, deadline)
        } else {
            self.line.mask();
            Ok(())
        }
    }

    /// Sets eventfds; the first request enables the index, with all of its vectors.
    fn enable(
        &self,
        token: &mut ThreadToken,
        mode: IrqMode,
        vectors: Vectors,
        fds: Vec<Option<Arc<EventFd>>>,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let total = self.total(mode);
        self.change(token, deadline, |wiring| {
            match wiring.mode {
                None => {
                    wiring.mode = Some(mode);
                    wiring.vectors = vec![None; total].into();
                }
                Some(active) if active == mode => {}
                Some(_) => return Err(RequestError::invalid("another kind of interrupt is enabled")),
            }
            for (place, fd) in wiring.vectors[vectors.range()].iter_mut().zip(fds) {
                *place = fd;
            }
            Ok(())
        })?;
        // A level that was asserted before anybody listened.
        if mode == IrqMode::Intx { self.refire(token, deadline) } else { Ok(()) }
    }

    fn total(&self, mode: IrqMode) -> usize {
        let index = match mode {
            IrqMode::Intx => IrqIndex::Intx,
            IrqMode::Msi => IrqIndex::Msi,
            IrqMode::Msix => IrqIndex::Msix,
        };
        self.counts.info(index).count as usize
    }

    /// Signals vectors as if the device had, for a consumer's test of its own wiring.
    fn loop_back(
        &self,
        token: &mut ThreadToken,
        mode: Option<IrqMode>,
        vectors: Vectors,
        chosen: impl Fn(usize) -> bool,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let pass = self.handle.enter(token, AccessKind::Interrupt, deadline).map_err(refused)?;
        let wiring = self.wiring.get(&pass);
        if mode.is_none() {
            let request = wiring.request.as_ref().ok_or(RequestError::invalid("nothing to signal"))?;
            if chosen(0) {
                self.deliver(Some(request));
            }
            return Ok(());
        }
        if wiring.mode != mode || vectors.count == 0 {
            return Err(RequestError::invalid("the interrupt is not enabled"));
        }
        // Bounded by the vectors there are; each is one system call that cannot block.
        for (nth, vector) in vectors.range().enumerate() {
            if chosen(nth)
                && let Some(Some(wired)) = wiring.vectors.get(vector)
            {
                self.deliver(Some(wired));
            }
        }
        Ok(())
    }

    /// Plans on the truth and publishes; a publication that fails puts the truth back.
    fn change(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
        plan: impl FnOnce(&mut Wiring) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let before = {
            let mut control = self.control.lock(token);
            let mut planned = control.clone();
            plan(&mut planned)?;
            // A line nobody listens to is masked for nobody.
            if planned.mode != Some(IrqMode::Intx) || control.mode != planned.mode {
                self.line.unmask();
            }
            std::mem::replace(&mut *control, planned)
        };
        self.publish(token, deadline).map_err(|error| {
            let mut control = self.control.lock(token);
            let tap = control.tap.take();
            *control = Wiring { tap, ..before };
            closing(&error)
        })?;
        self.tell_relay(token, deadline);
        Ok(())
    }

    fn tell_relay(&self, token: &mut ThreadToken, deadline: Deadline) {
        if let Some(relay) = self.relay.get() {
            relay.rewired(token, deadline);
        }
    }

    /// What the consumer uses now.
    pub fn wanted(&self, token: &mut ThreadToken) -> Wanted {
        let control = self.control.lock(token);
        let vectors = control.vectors.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Wanted { mode: control.mode, vectors }
    }

    fn publish(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), CloseError> {
        let mut closed = self.gate.close_short(token, Reason::SetIrqs, deadline)?;
        let wiring = self.control.lock_inside(&closed).clone();
        self.mode.store(mode_code(wiring.mode), Ordering::Relaxed);
        let old = self.wiring.replace(&mut closed, wiring);
        drop(closed);
        // After reopening: closing descriptors takes its time.
        drop(old);
        Ok(())
    }

    fn fire_line(&self, wiring: &Wiring) {
        let Some(wired) = self.line_listener(wiring) else { return };
        match &wiring.tap {
            None => self.deliver_line(wired),
            Some(tap) => self.deliver_line_tapped(&**tap, wired),
        }
    }

    /// Who listens to INTx, if the consumer lets it speak.
    fn line_listener<'w>(&self, wiring: &'w Wiring) -> Option<&'w Arc<EventFd>> {
        if wiring.mode != Some(IrqMode::Intx) || self.config.command().contains(Command::INTERRUPT_DISABLE) {
            return None;
        }
        wiring.vectors.first()?.as_ref()
    }

    fn deliver_line(&self, wired: &Arc<EventFd>) {
        if self.line.take() {
            self.deliver(Some(wired));
        }
    }

    #[inline]
    fn deliver(&self, wired: Option<&Arc<EventFd>>) {
        if !wired.is_some_and(|wired| wired.signal()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Wiring {
    fn disable(&mut self) {
        self.mode = None;
        self.vectors = Box::default();
    }
}

fn mode_code(mode: Option<IrqMode>) -> u8 {
    mode.map_or(0, |mode| mode as u8 + 1)
}

/// Descriptors for `count` vectors; none at all takes away what the vectors have. All are verified before the first
/// is used, so that a bad one changes nothing (VF-34).
fn verify(fds: Vec<std::os::fd::OwnedFd>, count: usize) -> Result<Vec<Option<Arc<EventFd>>>, RequestError> {
    if fds.is_empty() {
        return Ok(vec![None; count]);
    }
    fds.into_iter().map(|fd| EventFd::from_client(fd).map(|fd| Some(Arc::new(fd)))).collect()
}

fn refused(refusal: Refusal) -> RequestError {
    match refusal {
        Refusal::Blocked(_) => RequestError::new(Errno::ETIMEDOUT, "the function was busy past the deadline"),
        Refusal::Frozen => RequestError::new(Errno::EIO, "the function is frozen"),
        Refusal::Gone | Refusal::StaleEpoch { .. } => {
            RequestError::new(Errno::ENODEV, "the function is gone")
        }
    }
}
