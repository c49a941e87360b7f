//! An NVMe controller behind a socket, with a driver that polls.

use std::sync::Arc;

use gate::ThreadToken;
use models::nvme::host::{Driver, Options};
use models::nvme::{Backing, Config};
use remote::inject::Injections;
use vfio_user::client::{Client, ClientOptions};
use vfio_user::server::{Server, ServerOptions, Stop};

/// Lets the server end, however the test does.
struct Ends<'a>(&'a Stop);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn a_command_whose_memory_fails_is_told_so_and_the_next_works() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nvme.sock");
    let assignment =
        models::nvme::build("nvme", &Config::default(), Backing::memory(1 << 20).unwrap(), Arc::new(()))
            .unwrap();
    let injections = Injections::new("nvme", 1);
    assert!(injections.attach(assignment.function(), assignment.port()));
    let server = Server::bind(&socket, assignment, ServerOptions::default()).unwrap();
    let stop = Stop::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| server.run(&mut ThreadToken::at_thread_entry(), &stop).unwrap());
        let _ends = Ends(&stop);
        let token = &mut ThreadToken::at_thread_entry();
        let client = Client::connect(token, &socket, ClientOptions::default()).unwrap();
        // Few slots: the pages of the range are the first slot's data, whether the rings take a page or many.
        let options = Options { depth: 4, ..Options::default() };
        let mut driver = Driver::start(token, client, &options).unwrap();
        let data = vec![0x5a; 128 << 10];
        driver.write(token, 0, &data, false).unwrap();
        let rule = "dma-error:range=0x100020000-0x10002afff".parse().unwrap();
        // No count: the controller asks again, page by page, for what it does not get in one piece.
        let rule = injections.add(token, rule).unwrap();
        assert!(driver.write(token, 0, &data, false).is_err());
        assert!(injections.list()[0].hits > 0);
        assert!(injections.remove(token, rule));
        driver.write(token, 0, &data, false).unwrap();
    });
}
