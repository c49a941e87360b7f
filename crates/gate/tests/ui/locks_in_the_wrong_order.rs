//! Locks are taken in ascending rank.
use gate::ThreadToken;
use gate::lock::Lock;

mod ranks {
    gate::ranks! {
        /// Comes first.
        pub Plan = 10, "plan", before [Table];
        /// Comes second.
        pub Table = 20, "table";
    }
}

fn main() {
    let (plan, table) = (Lock::<ranks::Plan, u32>::new(0), Lock::<ranks::Table, u32>::new(0));
    let mut token = ThreadToken::at_thread_entry();
    let mut tabled = table.lock(&mut token);
    let (_, place) = tabled.split();
    let planned = plan.lock(place);
    drop(planned);
}
