//! Plain libp2p nodes, without admission, against a host of tau: they must learn nothing.

use futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, kad, noise, ping, tcp, yamux};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swarm::{Events, Failure, Host, Kind, Options, PeerStream, Refusal, Reply};
use tokio::sync::oneshot;

#[derive(NetworkBehaviour)]
struct Curious {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
}

fn plain_node() -> Swarm<Curious> {
    libp2p::SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|key| {
            let id = key.public().to_peer_id();
            Curious {
                identify: identify::Behaviour::new(identify::Config::new("/tau/id/1".into(), key.public())),
                ping: ping::Behaviour::default(),
                kad: kad::Behaviour::with_config(
                    id,
                    kad::store::MemoryStore::new(id),
                    kad::Config::new(libp2p::StreamProtocol::new("/tau/kad/1")),
                ),
            }
        })
        .unwrap()
        .build()
}

/// Admits whoever shows the word "member", and notes everything that it hears.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn add(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Owner(Arc<Notes>);

impl Events for Owner {
    fn admit(&self, _: &PeerId, certificate: &[u8]) -> Result<(), Refusal> {
        if certificate == b"member" { Ok(()) } else { Err(Refusal { why: "no member".into(), tell: false }) }
    }
    fn peer_up(&self, peer: &PeerId, _: &[u8]) {
        self.0.add(format!("up {peer}"));
    }
    fn peer_down(&self, peer: &PeerId) {
        self.0.add(format!("down {peer}"));
    }
    fn message(&self, _: &str, _: &PeerId, _: &[u8]) {
        self.0.add("message".into());
    }
    fn inbound_stream(&self, _: &PeerId, _: &str, _: PeerStream) {
        self.0.add("stream".into());
    }
    fn address(&self, address: &str, listening: bool) {
        if listening {
            self.0.add(address.into());
        }
    }
    fn failed(&self, why: &str) {
        self.0.add(format!("failed {why}"));
    }
}

fn reply<T: Send + 'static>() -> (Reply<T>, oneshot::Receiver<Result<T, Failure>>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

async fn host(certificate: &[u8], listen: &str) -> (Host, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let (started, done) = reply();
    let options = Options {
        seed: Keypair::generate_ed25519().try_into_ed25519().unwrap().secret().as_ref().to_vec(),
        certificate: certificate.to_vec(),
        listen: vec![listen.into()],
        external: vec![],
        mdns: false,
        relay_server: true,
    };
    let host = Host::start(tokio::runtime::Handle::current(), options, Arc::new(Owner(notes.clone())), started);
    done.await.unwrap().unwrap();
    (host, notes)
}

fn only_its_address(notes: &Notes) -> Multiaddr {
    let all = notes.all();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].parse().unwrap()
}

async fn a_plain_node_learns_nothing(listen: &str) {
    let (host, notes) = host(b"member", listen).await;
    let mut stranger = plain_node();
    stranger.dial(only_its_address(&notes)).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match stranger.select_next_some().await {
                SwarmEvent::Behaviour(CuriousEvent::Identify(identify::Event::Received { info, .. })) => {
                    panic!("a stranger was told {info:?}")
                }
                SwarmEvent::Behaviour(CuriousEvent::Ping(ping::Event { result: Ok(_), .. })) => {
                    panic!("a stranger's ping was answered")
                }
                SwarmEvent::Behaviour(CuriousEvent::Kad(kad::Event::RoutingUpdated { .. })) => {
                    panic!("a stranger learned a protocol")
                }
                SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => return,
                _ => {}
            }
        }
    });
    ended.await.expect("the connection is closed");
    only_its_address(&notes);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_node_learns_nothing_over_tcp() {
    a_plain_node_learns_nothing("/ip4/127.0.0.1/tcp/0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_node_learns_nothing_over_quic() {
    a_plain_node_learns_nothing("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dials_a_plain_node_says_that_it_is_no_member() {
    let (host, notes) = host(b"member", "/ip4/127.0.0.1/tcp/0").await;
    let mut stranger = plain_node();
    stranger.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = stranger.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(CuriousEvent::Identify(identify::Event::Received { info, .. })) =
                stranger.select_next_some().await
            {
                panic!("a stranger was told {info:?}");
            }
        }
    });
    let (dialed, done) = reply();
    host.dial(&address.to_string(), dialed);
    let failure = done.await.unwrap().unwrap_err();
    assert_eq!(failure.kind, Kind::NotAdmitted, "{}", failure.message);
    only_its_address(&notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_connect_and_a_member_that_is_refused_hears_so() {
    let (host_a, notes) = host(b"member", "/ip4/127.0.0.1/tcp/0").await;
    let address = only_its_address(&notes).to_string();
    let (member, _) = host(b"member", "/ip4/127.0.0.1/tcp/0").await;
    let (dialed, done) = reply();
    member.dial(&address, dialed);
    done.await.unwrap().unwrap();
    let (former, _) = host(b"expired", "/ip4/127.0.0.1/tcp/0").await;
    let (dialed, done) = reply();
    former.dial(&address, dialed);
    let failure = done.await.unwrap().unwrap_err();
    assert_eq!(failure.kind, Kind::NotAdmitted);
    assert!(failure.message.contains("refused this host's certificate"), "{}", failure.message);
    for host in [&host_a, &member, &former] {
        let (stopped, done) = reply();
        host.stop(stopped);
        done.await.unwrap().unwrap();
    }
}
