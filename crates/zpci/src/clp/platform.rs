//! Who carries commands out.

use super::answer::{Answer, BarInfo, Entry, FunctionInfo, ListPage, Processor};
use super::request::{MAX_LIST_ENTRIES, Request};
use super::response::Code;
use crate::id::Fid;
use crate::state::Configuration;
use crate::view::View;
use crate::zdev::Zdev;
use crate::zpci::{MAX_FUNCTIONS, Zpci};
use gate::ThreadToken;

/// A platform, as who asks it sees it.
pub trait Clp: Send + Sync {
    /// Carries a command out. Waits for nobody.
    ///
    /// # Errors
    /// [`Code`]; nothing was changed. [`Code::is_busy`]: the same may succeed a moment later.
    fn call(&self, token: &ThreadToken, request: Request) -> Result<Answer, Code>;
}

impl Clp for Zpci {
    fn call(&self, _token: &ThreadToken, request: Request) -> Result<Answer, Code> {
        match request {
            Request::QueryProcessor => Ok(Answer::Processor(Processor { commands: 0b11_1110 })),
            Request::List { resume } => self.list_page(resume).map(Answer::List),
            Request::QueryFunction { handle } => {
                let zdev = self.zdev_by_handle(handle).ok_or(Code::Handle)?;
                Ok(Answer::Function(Box::new(self.function_info(&zdev))))
            }
            Request::QueryGroup { group } => self.group(group).map(Answer::Group).ok_or(Code::Group),
            Request::SetFunction { handle, operation, dma_spaces } => {
                let zdev = self.zdev_by_handle(handle).ok_or(Code::Handle)?;
                let handle = self.set_function(&zdev, handle, operation, dma_spaces)?;
                Ok(Answer::Set { handle })
            }
        }
    }
}

impl Zpci {
    /// A token is the identifier behind which the list goes on, plus one: right whatever comes and goes in between.
    fn list_page(&self, resume: u64) -> Result<ListPage, Code> {
        let from = match resume {
            0 => None,
            token => Some(Fid(u32::try_from(token - 1).map_err(|_| Code::ResumeToken)?)),
        };
        let mut rest = self.list_behind(from).into_iter().filter_map(|zdev| entry(&zdev));
        let entries: Vec<Entry> = rest.by_ref().take(MAX_LIST_ENTRIES).collect();
        let goes_on = rest.next().is_some();
        let resume = entries.last().filter(|_| goes_on).map_or(0, |last| u64::from(last.fid.0) + 1);
        Ok(ListPage {
            entries,
            resume,
            max_functions: u16::try_from(MAX_FUNCTIONS).unwrap_or(u16::MAX),
            uid_checking: self.uid_checking(),
        })
    }

    fn function_info(&self, zdev: &Zdev) -> FunctionInfo {
        let description = zdev.description();
        let view = zdev.view();
        let mut utility = [0; 64];
        for (to, from) in utility.iter_mut().zip(description.utility.bytes()) {
            *to = from;
        }
        FunctionInfo {
            fid: zdev.fid(),
            uid: zdev.uid(),
            vfn: zdev.parent_vfn().map_or(0, |(_, vfn)| vfn),
            function_type: description.function_type,
            pchid: description.pchid,
            port: description.port,
            group: description.group,
            bars: view.as_ref().map_or([None; 6], |view| bars(view)),
            dma: self.settings().dma.clone(),
            utility,
            is_mio_enabled: view.is_some_and(|view| view.is_mio_enabled()),
        }
    }
}

/// `None` of a function that is RESERVED.
fn entry(zdev: &Zdev) -> Option<Entry> {
    let (configuration, handle, view) = zdev.standing();
    if configuration == Configuration::Reserved {
        return None;
    }
    let (vendor_id, device_id) = view.map(|view| view.identity()).unwrap_or_default();
    Some(Entry { fid: zdev.fid(), handle, configuration, vendor_id, device_id })
}

/// The layout never changes in a function's life, so this needs no pass.
fn bars(view: &View) -> [Option<BarInfo>; 6] {
    let mut bars = [None; 6];
    for layout in view.function().config().layout().bars() {
        if let Some(bar) = bars.get_mut(usize::from(layout.index.get())) {
            let size_log2 = u8::try_from(layout.size.max(1).ilog2()).unwrap_or(u8::MAX);
            *bar = Some(BarInfo { kind: layout.kind, size_log2 });
        }
    }
    bars
}
