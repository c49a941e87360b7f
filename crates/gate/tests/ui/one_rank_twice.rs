//! Two locks of one rank are never held together: nobody has said which comes first.
use gate::ThreadToken;
use gate::lock::Lock;

mod ranks {
    gate::ranks! {
        /// One function's plan.
        pub Plan = 10, "plan";
    }
}

fn main() {
    let (one, other) = (Lock::<ranks::Plan, u32>::new(0), Lock::<ranks::Plan, u32>::new(0));
    let mut token = ThreadToken::at_thread_entry();
    let mut first = one.lock(&mut token);
    let (_, place) = first.split();
    let second = other.lock(place);
    drop(second);
}
