//! Tests of what follows from the settings.

use super::*;

fn listen_addr(addr: &str, display: &str) -> ListenAddr {
    ListenAddr {
        addr: addr.parse().unwrap(),
        display: display.to_owned(),
    }
}

fn endpoint(addr: &str) -> Endpoint {
    Endpoint {
        addr: addr.parse().unwrap(),
        name: "etcd.example:2379".to_owned(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: None,
        source: endpoint::Source::Srv,
    }
}

#[test]
fn an_endpoint_that_is_the_gateway_is_refused_with_the_listener_it_is() {
    let listen = [
        listen_addr("127.0.0.1:1001", "localhost:1001"),
        listen_addr("127.0.0.1:1002", "127.0.0.1:1002"),
    ];
    let metrics = listen_addr("127.0.0.1:1003", "127.0.0.1:1003");
    let found = |addrs: &[&str]| {
        let endpoints: Vec<Endpoint> = addrs.iter().map(|addr| endpoint(addr)).collect();
        refuse_loops(&endpoints, &listen, Some(&metrics)).err()
    };
    assert!(found(&["127.0.0.1:1004", "127.0.0.2:1001"]).is_none());
    for (addr, listener) in [
        ("127.0.0.1:1001", "localhost:1001"),
        ("127.0.0.1:1002", "127.0.0.1:1002"),
        ("127.0.0.1:1003", "127.0.0.1:1003 of --metrics-addr"),
    ] {
        let error = found(&["127.0.0.1:1004", addr]).expect(addr);
        assert!(error.is_usage(), "{error}");
        let said = error.to_string();
        let expected = format!(
            "--discovery-srv: SRV or endpoint (etcd.example:2379->{addr}) should not resolve to the \
             gateway listen addr ({listener}): "
        );
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[test]
fn what_members_have_to_prove_depends_on_the_settings() {
    let lists = |config: &Config| {
        let members = members(config, &mut Vec::new()).unwrap();
        members.current()[0].identity.clone()
    };
    let plain = Config {
        endpoints: vec![crate::addr::parse_endpoint("127.0.0.1:2379").unwrap().0],
        ..Config::default()
    };
    let verifying = Config {
        verify_endpoints: true,
        ..plain.clone()
    };
    let named = Config {
        server_name: Some("etcd.example.".to_owned()),
        ..verifying.clone()
    };
    assert_eq!(lists(&plain), None);
    assert_eq!(lists(&verifying).as_deref(), Some("127.0.0.1"));
    assert_eq!(lists(&named).as_deref(), Some("etcd.example"));
    let wrong = Config {
        server_name: Some("not a name".to_owned()),
        ..verifying
    };
    let Err(error) = members(&wrong, &mut Vec::new()) else {
        panic!("it is accepted")
    };
    assert!(error.is_usage(), "{error}");
    let expected = "members cannot prove that they are \"not a name\": ";
    assert!(error.to_string().starts_with(expected), "{error}");
}
