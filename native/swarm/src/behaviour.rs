//! The protocols of a host. Intervals are chosen for a laptop that runs fifty hosts in one process.

use crate::crowd;
use crate::host::Options;
use crate::peers;
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::{NetworkBehaviour, behaviour::toggle::Toggle};
use libp2p::{
    PeerId, StreamProtocol, autonat, connection_limits, dcutr, gossipsub, identify, kad, mdns, ping, relay,
};
use std::time::Duration;

pub const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/tau/kad/1");
const IDENTIFY_PROTOCOL: &str = "/tau/id/1";

/// Handshakes in flight: what strangers can make us do at once. Each ends within 15 s.
const HANDSHAKES_MAX: u32 = 256;
/// Both sides may dial at once, and a direct connection may join a relayed one.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// About 340 KiB each.
const CONNECTIONS_MAX: u32 = 2048;

/// Topics that one peer may subscribe to: one for a project's channel, for thousands of projects.
const TOPICS_PER_PEER_MAX: usize = 4096;
/// 64 KiB of data, and room for topic, signature and key.
const GOSSIP_FRAME_MAX: usize = (64 + 4) * 1024;

/// Provider records held for the network, at a few hundred bytes each.
const PROVIDED_KEYS_MAX: usize = 65_536;

type Gossipsub = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    gossipsub::MaxCountSubscriptionFilter<gossipsub::AllowAllSubscriptionFilter>,
>;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    limits: connection_limits::Behaviour,
    crowd: crowd::Behaviour,
    relay_client: relay::client::Behaviour,
    relay_server: Toggle<relay::Behaviour>,
    dcutr: dcutr::Behaviour,
    autonat: autonat::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub kad: kad::Behaviour<MemoryStore>,
    pub gossipsub: Gossipsub,
    mdns: Toggle<mdns::tokio::Behaviour>,
    // The last one: a connection that reaches it has passed all others, so that it may announce the peer.
    pub peers: peers::Behaviour,
}

impl Behaviour {
    pub fn new(
        key: &Keypair,
        options: &Options,
        relay_client: relay::client::Behaviour,
        peers: peers::Behaviour,
    ) -> Result<Self, String> {
        let id = key.public().to_peer_id();
        Ok(Self {
            limits: connection_limits::Behaviour::new(
                connection_limits::ConnectionLimits::default()
                    .with_max_pending_incoming(Some(HANDSHAKES_MAX))
                    .with_max_pending_outgoing(Some(HANDSHAKES_MAX))
                    .with_max_established(Some(CONNECTIONS_MAX))
                    .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX)),
            ),
            crowd: crowd::Behaviour::default(),
            relay_client,
            relay_server: options.relay_server.then(|| relay::Behaviour::new(id, relay_limits())).into(),
            dcutr: dcutr::Behaviour::new(id),
            autonat: autonat::Behaviour::new(id, autonat::Config::default()),
            identify: identify::Behaviour::new(
                identify::Config::new(IDENTIFY_PROTOCOL.into(), key.public())
                    .with_agent_version(concat!("tau/", env!("CARGO_PKG_VERSION")).into())
                    .with_interval(Duration::from_secs(600))
                    .with_push_listen_addr_updates(true),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(Duration::from_secs(15)).with_timeout(Duration::from_secs(10)),
            ),
            kad: kademlia(id),
            gossipsub: gossipsub(key)?,
            mdns: mdns(id, options.mdns)?.into(),
            peers,
        })
    }
}

/// Members only get this far, so the limits fence off mistakes, not strangers.
fn relay_limits() -> relay::Config {
    relay::Config {
        max_circuits: 256,
        max_circuits_per_peer: 16,
        max_circuit_duration: Duration::from_secs(3600),
        max_circuit_bytes: 1 << 30,
        ..Default::default()
    }
}

fn kademlia(id: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config.set_query_timeout(Duration::from_secs(10));
    config.set_periodic_bootstrap_interval(Some(Duration::from_secs(600)));
    // Values are never stored for others, and provider records only after a look at them (host.rs).
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let store = MemoryStore::with_config(
        id,
        MemoryStoreConfig { max_records: 0, max_provided_keys: PROVIDED_KEYS_MAX, ..Default::default() },
    );
    let mut kad = kad::Behaviour::with_config(id, store, config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn gossipsub(key: &Keypair) -> Result<Gossipsub, String> {
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(Duration::from_secs(1))
        .validation_mode(gossipsub::ValidationMode::Strict)
        .max_transmit_size(GOSSIP_FRAME_MAX)
        .build()
        .map_err(|e| e.to_string())?;
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::AllowAllSubscriptionFilter {},
        max_subscribed_topics: TOPICS_PER_PEER_MAX,
        max_subscriptions_per_request: TOPICS_PER_PEER_MAX,
    };
    gossipsub::Behaviour::new_with_subscription_filter(
        gossipsub::MessageAuthenticity::Signed(key.clone()),
        config,
        filter,
    )
    .map_err(str::to_owned)
}

fn mdns(id: PeerId, wanted: bool) -> Result<Option<mdns::tokio::Behaviour>, String> {
    if !wanted {
        return Ok(None);
    }
    mdns::tokio::Behaviour::new(mdns::Config::default(), id).map(Some).map_err(|e| format!("mdns: {e}"))
}
