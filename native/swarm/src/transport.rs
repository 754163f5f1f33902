//! TCP + noise + yamux and QUIC, with DNS names in front and relayed circuits beside; admission behind all of them.

use crate::admission::Admission;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OrTransport, timeout::TransportTimeout};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, dns, noise, quic, relay, tcp, yamux};
use std::sync::Arc;
use std::time::Duration;

/// Dialing, security and multiplexing together.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Streams of one connection, both directions. Each may hold 256 KiB of unread data in yamux.
pub const STREAMS_PER_CONNECTION_MAX: usize = 1024;

type Connection = (PeerId, StreamMuxerBox);

fn yamux() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
    config
}

fn direct(key: &Keypair) -> Result<Boxed<Connection>, String> {
    let secured = noise::Config::new(key).map_err(|e| e.to_string())?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(secured)
        .multiplex(yamux())
        .boxed();
    let mut config = quic::Config::new(key);
    config.max_concurrent_stream_limit = STREAMS_PER_CONNECTION_MAX as u32;
    // A host that vanished without a word is noticed within 20 s, at the cost of one small packet in 8 s.
    config.max_idle_timeout = 20_000;
    config.keep_alive_interval = Duration::from_secs(8);
    let quic = quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(OrTransport::new(quic, tcp)
        .map(|either, _| match either {
            futures::future::Either::Left(connection) => connection,
            futures::future::Either::Right(connection) => connection,
        })
        .boxed())
}

pub fn build(key: &Keypair, admission: Arc<Admission>) -> Result<(Boxed<Connection>, relay::client::Behaviour), String> {
    // Without a resolver configuration on the machine, names cannot be dialed, and addresses still can.
    let named = match dns::tokio::Transport::system(direct(key)?) {
        Ok(transport) => transport.boxed(),
        Err(_) => direct(key)?,
    };
    let (circuits, behaviour) = relay::client::new(key.public().to_peer_id());
    let relayed = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).map_err(|e| e.to_string())?)
        .multiplex(yamux())
        .boxed();
    let any = OrTransport::new(relayed, named).map(|either, _| match either {
        futures::future::Either::Left(connection) => connection,
        futures::future::Either::Right(connection) => connection,
    });
    let admitted = TransportTimeout::new(any, HANDSHAKE_LIMIT)
        .and_then(move |connection, endpoint| admission.clone().upgrade(connection, endpoint))
        .boxed();
    Ok((admitted, behaviour))
}
