//! Sockets that a start cannot have. Threads and signals: `threads`.

use crate::support::fault::{Faults, Rule, fails};
use crate::support::gateway::READY;
use crate::support::{Backend, Gateway, Launch, SOON, eventually};

/// The exit code of a start that fails; `None` if it is ready.
fn outcome(gateway: &mut Gateway) -> Option<i32> {
    eventually(SOON, "it is ready, or ends", || {
        let ready = gateway.text().contains(READY);
        let code = gateway.ended().map(|status| status.code().unwrap_or(-1));
        // What it wrote last is read before its end is known.
        code.map(Some).or(ready.then_some(None))
    })
}

#[test]
fn start_that_cannot_listen_says_what_can_help() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let endpoint = Backend::tagged(b't');
    let never = ["choose another address", "1024", "LimitNPROC", "(os error"];
    let cases: [(Rule, &[&str]); 10] = [
        // (what fails, what must not be said)
        (fails("socket", "EMFILE").on("socket"), &never),
        (fails("socket", "ENOMEM").on("socket"), &never),
        (fails("setsockopt", "ENOMEM").on("socket"), &never),
        (fails("setsockopt", "ENOBUFS").on("socket"), &never),
        (fails("setsockopt", "EPERM").on("socket"), &never),
        (fails("bind", "ENOMEM").on("socket"), &never),
        (fails("listen", "ENOBUFS"), &never),
        (fails("getsockname", "ENOBUFS").on("listen"), &never),
        (fails("eventfd", "EMFILE"), &never),
        (
            fails("pthread_create", "EAGAIN"),
            &["another address", "(os error"],
        ),
    ];
    for (rule, never) in cases {
        let rules = faults.set(&[rule]);
        let launch = Launch::before(&[endpoint.address()], &["--metrics-addr=127.0.0.1:0"]);
        let mut gateway = faults.launch(launch).start_to_be();
        let code = outcome(&mut gateway);
        let text = gateway.text();
        assert!(faults.hits(rules)[0] > 0, "{rule:?} never hit");
        let case = format!("{rule:?}: exit {code:?}:\n{text}");
        assert_eq!(code, Some(1), "{case}");
        for words in never {
            assert!(!text.contains(words), "{words:?} in {case}");
        }
    }
}
