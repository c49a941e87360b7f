//! Who carries recoveries out in these tests: the test itself.

use contain::containment::{End, News, Recoveries, RecoveryId, Running, Start};
use contain::pe::PeAddress;
use contain::report::Outcome;
use gate::ThreadToken;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A recovery that does nothing by itself.
#[derive(Default)]
pub(crate) struct Mine {
    start: Mutex<Option<Start>>,
    pub(crate) news: Mutex<Vec<News>>,
}

impl Running for Mine {
    fn post(&self, news: News) {
        self.news.lock().push(news);
    }

    fn report(&self) -> String {
        String::from("in the hands of a test")
    }
}

impl Mine {
    pub(crate) fn pe(&self) -> PeAddress {
        self.start.lock().as_ref().unwrap().claim.pe().address()
    }

    pub(crate) fn id(&self) -> RecoveryId {
        self.start.lock().as_ref().unwrap().id
    }

    pub(crate) fn look<R>(&self, look: impl FnOnce(&Start) -> R) -> R {
        look(self.start.lock().as_ref().unwrap())
    }

    /// As the executor thaws or unfreezes.
    pub(crate) fn thaw(&self) {
        self.look(|start| start.frozen.as_ref().unwrap().thaw());
    }

    /// Ends without touching the freeze.
    pub(crate) fn end(&self, outcome: Outcome) {
        let Start { id, claim, ended, .. } = self.start.lock().take().unwrap();
        drop(claim);
        ended.ended(id, End { outcome, resets: 1, pause: Duration::from_millis(7) });
    }

    /// Ends well: thawed, and told.
    pub(crate) fn recover(&self) {
        self.thaw();
        self.end(Outcome::Recovered);
    }

    pub(crate) fn heard_of_another_error(&self) -> usize {
        self.news.lock().iter().filter(|news| matches!(news, News::FrozenAgain)).count()
    }
}

/// All recoveries that began, in their order.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) begun: Mutex<Vec<Arc<Mine>>>,
}

impl Recoveries for Script {
    fn begin(&self, _token: &mut ThreadToken, start: Start) -> Arc<dyn Running> {
        let mine = Arc::new(Mine { start: Mutex::new(Some(start)), news: Mutex::default() });
        self.begun.lock().push(mine.clone());
        mine
    }
}
