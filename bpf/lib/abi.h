/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every struct and enum that user space sees, and nothing else. The single
 * source of truth: src/maps/abi.gen.ts is generated from this file's BTF.
 * Numbers that Cilium's users know (identities, drop reasons, trace points,
 * packet marks) are Cilium's. Enums are append-only. No implicit padding:
 * abi_check.h refuses it. Addresses and ports are in network order, all else
 * in the machine's.
 */
#pragma once

#include "types.h"

/* Identities below 256 are reserved; the numbers also travel as VNI. */
enum identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_WORLD = 2,
	IDENTITY_UNMANAGED = 3,
	IDENTITY_HEALTH = 4,
	IDENTITY_INIT = 5,
	IDENTITY_REMOTE_NODE = 6,
};

/*
 * skb->mark between a program and the stack: magic in 0x0F00, the identity's
 * low 16 bits in the upper half, its next 8 bits in the lowest byte.
 */
enum packet_mark {
	MARK_MAGIC_TRANSLATED = 0x0300, /* has the addresses it is to leave with */
	MARK_MAGIC_OVERLAY = 0x0400,	/* out of the tunnel's device */
	MARK_MAGIC_HOST = 0x0C00,
	MARK_MAGIC_IDENTITY = 0x0F00,
	MARK_MAGIC_MASK = 0x0F00,
};

/* cilium_lxc: one entry per local address: pods, health, router, node. */
struct endpoint_key {
	__be32 ipv4;
};

enum endpoint_flag {
	ENDPOINT_F_HOST = 1,	       /* an address of this node itself: hand to the stack */
	ENDPOINT_F_POLICY_INGRESS = 2, /* slot in cilium_policy_maps is valid and enforced */
	ENDPOINT_F_POLICY_EGRESS = 4,
};

struct endpoint_info {
	__u32 ifindex; /* host side device; 0 for the node's own addresses */
	__u32 identity;
	__u16 endpoint_id;	  /* also the slot in cilium_policy_maps */
	__u16 flags;		  /* enum endpoint_flag */
	__u8 mac[MAC_BYTES];	  /* pod side */
	__u8 node_mac[MAC_BYTES]; /* host side */
};

/* cilium_ipcache: LPM trie from prefix to who lives there. */
struct ipcache_key {
	__u32 prefixlen;
	__be32 ipv4;
};

enum ipcache_flag {
	IPCACHE_F_OWN_PODCIDR = 1, /* a block of this node: without endpoint it is nobody (151) */
	IPCACHE_F_CLUSTER = 2,	   /* a pod range: needs a tunnel endpoint in tunnel mode (160) */
	IPCACHE_F_NEIGHBOUR =
		4, /* its node is a neighbour on cfg_direct_ifindex: native mode needs no route look-up */
};

struct ipcache_info {
	__u32 identity;
	__be32 tunnel_endpoint; /* node address, 0 when none */
	__u16 flags;		/* enum ipcache_flag */
	__u16 reserved;
};

/*
 * cilium_policy_<id>, an inner map of cilium_policy_maps. Two lookups are made,
 * with the peer's identity and with identity 0 (anybody); of the two longest
 * matches the one that says more about protocol and port wins, and on a tie
 * the one that names the identity. No match is a drop (133).
 */
enum policy_prefix {
	POLICY_PREFIX_L3 = 64,	     /* direction and identity given */
	POLICY_PREFIX_L4_PROTO = 80, /* and protocol */
	POLICY_PREFIX_FULL = 96,     /* and port */
};

enum policy_direction {
	POLICY_INGRESS = 0,
	POLICY_EGRESS = 1,
};

struct policy_key {
	__u32 prefixlen; /* enum policy_prefix */
	__u8 egress;	 /* enum policy_direction */
	__u8 reserved[3];
	__u32 identity; /* of the peer, 0 anybody */
	__u8 l4_proto;
	__u8 reserved2;
	__be16 dport; /* 0 in fragments after the first: only rules without port match */
};

struct policy_entry {
	__u8 deny;
	__u8 prefixlen; /* that of the key: how much this rule says */
	__u8 reserved[2];
};

/*
 * Services. A frontend (address, port, protocol, scope) is a master entry in
 * cilium_lb4_services_v2 with backend_slot 0, and slots 1..count that each name
 * a backend; cilium_lb4_backends_v3 says where that is. Written in such an order
 * that every slot up to a count names a backend that is there: backends, slots,
 * master; the other way round when they go. Clients in the cluster (pods, nodes,
 * the socket programs) ask for the internal scope where the external master says
 * that there is one.
 */
enum lb_scope {
	LB_SCOPE_EXTERNAL = 0,
	LB_SCOPE_INTERNAL = 1,
};

struct lb4_key {
	__be32 address;
	__be16 dport;
	__u16 backend_slot;
	__u8 l4_proto;
	__u8 scope; /* enum lb_scope */
	__u8 reserved[2];
};

enum lb_service_flag {
	LB_F_CLUSTER_IP = 1, /* not for those outside the cluster */
	LB_F_NODE_PORT = 2,
	LB_F_EXTERNAL_IP = 4,
	LB_F_LOAD_BALANCER = 8,
	LB_F_HOST_PORT = 16,
	LB_F_AFFINITY = 32,
	LB_F_SOURCE_RANGES = 64, /* cilium_lb4_source_range says who may */
	LB_F_MAGLEV = 128,	 /* chosen by cilium_lb4_maglev, else at random */
	LB_F_DSR = 256,		 /* a remote backend answers the client itself */
	LB_F_TWO_SCOPES = 512,	 /* policies for the two scopes differ */
	LB_F_LOCAL =
		1024, /* this scope has this node's backends only; the client's address stays */
};

struct lb4_service {
	__u32 backend_id; /* slots from 1 on */
	__u32 rev_nat_index; /* key of cilium_lb4_reverse_nat, equal in all slots of a frontend; never 0 */
	__u32 affinity_timeout_s; /* master */
	__u16 count;		  /* master: slots that follow; 0 drops (158) */
	__u16 flags;		  /* master: enum lb_service_flag */
};

enum lb_backend_state {
	LB_BACKEND_ACTIVE = 0,
	LB_BACKEND_TERMINATING = 1, /* has no slot; flows that know it go on */
};

struct lb4_backend_key {
	__u32 backend_id;
};

struct lb4_backend {
	__be32 address;
	__be16 port;
	__u8 l4_proto;
	__u8 state; /* enum lb_backend_state */
};

struct lb4_reverse_nat_key {
	__u32 rev_nat_index;
};

struct lb4_reverse_nat {
	__be32 address;
	__be16 port;
	__u8 reserved[2];
};

/* cilium_lb4_affinity (LRU): which backend a client was given. Behind sockets the client is its network namespace. */
struct lb4_affinity_key {
	__u64 client; /* an IPv4 address as __be32, or a network namespace's cookie */
	__u32 rev_nat_index;
	__u8 is_netns_cookie;
	__u8 reserved[3];
};

struct lb4_affinity {
	__u64 last_used_ns; /* since boot */
	__u32 backend_id;
	__u32 reserved;
};

/* cilium_lb4_source_range: LPM trie; prefixlen is 32 (the index) more than the range's own. */
struct lb4_source_range_key {
	__u32 prefixlen;
	__u32 rev_nat_index;
	__be32 address;
};

struct lb4_source_range {
	__u32 allowed; /* 1 */
};

/* cilium_lb4_reverse_sk (LRU): what a socket asked for, to be shown to it again in recvmsg and getpeername. */
struct lb4_reverse_sk_key {
	__u64 socket_cookie;
	__be32 address; /* backend's */
	__be16 port;
	__u8 reserved[2];
};

struct lb4_reverse_sk {
	__be32 address; /* frontend's */
	__be16 port;
	__u8 reserved[2];
	__u32 rev_nat_index;
};

/* cilium_lb4_sockets: the same of a TCP socket, at its cookie's place. Sockets that find it taken are in the one above. */
struct lb4_socket {
	__u64 socket_cookie; /* 0: nobody's */
	__be32 backend_address;
	__be16 backend_port;
	__u8 reserved[2];
	__be32 address; /* frontend's */
	__be16 port;
	__u8 reserved2[2];
	__u32 rev_nat_index;
	__u32 reserved3;
};

/*
 * cilium_lb4_maglev: the look-up table of a frontend, replaced as a whole. This
 * many fit an allocation of one page together with the kernel's own header.
 */
enum lb_maglev {
	LB_MAGLEV_TABLE = 1009, /* prime */
};

struct lb4_maglev_key {
	__u32 rev_nat_index;
	__u8 scope; /* enum lb_scope */
	__u8 reserved[3];
};

struct lb4_maglev {
	__u32 backend_id[LB_MAGLEV_TABLE];
};

/*
 * Conntrack: cilium_ct4_global (TCP) and cilium_ct_any4_global (the rest). One
 * entry per flow and direction, keyed as the side that opened the flow sends;
 * replies are looked up with both ends changed over. Flows to a service have two:
 * CT_SERVICE as the client sends (to the frontend), which says which backend it
 * was given, and CT_EGRESS or CT_INGRESS as the backend gets them. ICMP echo has
 * its identifier as sport, and dport 0. Only flows that need one have an entry:
 * those to services, and those of endpoints with policy.
 */
enum ct_direction {
	CT_EGRESS = 0,	/* of a local endpoint, or forwarded by this node to a remote backend */
	CT_INGRESS = 1, /* to a local endpoint */
	CT_SERVICE = 2,
};

struct ct_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 l4_proto;
	__u8 direction; /* enum ct_direction */
	__u8 reserved[2];
};

enum ct_flag {
	CT_F_SEEN_REPLY = 1,
	CT_F_TX_CLOSING = 2, /* the opener has sent FIN or RST */
	CT_F_RX_CLOSING = 4,
	CT_F_SEEN_NON_SYN = 8,
	CT_F_ALLOWED = 16,   /* by the endpoint's policy, so replies need no rule */
	CT_F_NODE_PORT = 32, /* from outside, by a service */
	CT_F_LOOPBACK = 64,  /* the backend is the client: it sees CT_LOOPBACK_ADDRESS */
	CT_F_DSR = 128,
};

/* Seconds that an entry lives after its last packet. TCP: before the other side answered, after, and when both have closed. */
enum ct_lifetime {
	CT_LIFETIME_SYN_S = 60,
	CT_LIFETIME_TCP_S = 8000,
	CT_LIFETIME_CLOSING_S = 10,
	CT_LIFETIME_ANY_S = 60,
};

/* Both directions together. Times are seconds of CLOCK_MONOTONIC plus runtime_info.clock_offset_s. */
struct ct_entry {
	__u64 packets;
	__u64 bytes;
	__u32 expires_s;
	__u32 rev_nat_index; /* service of the flow, 0 none */
	__u32 backend_id;    /* CT_SERVICE */
	__u32 source_identity;
	__be32 nat_address; /* CT_SERVICE: the backend. Else what replies come from: the frontend; 0 nothing */
	__be16 nat_port;
	__u16 flags;	   /* enum ct_flag */
	__u8 tx_tcp_flags; /* seen from the opener, and from the other side */
	__u8 rx_tcp_flags;
	__u8 reserved[6];
};

/*
 * cilium_snat_v4_external: two entries per flow that leaves with an address of
 * the node: NAT_OUT by the packet as it was, NAT_IN by the reply as it comes.
 */
enum nat_direction {
	NAT_OUT = 0,
	NAT_IN = 1,
};

struct nat_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 l4_proto;
	__u8 direction; /* enum nat_direction */
	__u8 reserved[2];
};

/* Flags and times as ct_entry's; tx is outwards. Both entries of a pair have the same expires_s but for a second. */
struct nat_entry {
	__be32 address; /* NAT_OUT: the new source. NAT_IN: the new destination */
	__be16 port;	/* or ICMP identifier */
	__u16 flags;	/* enum ct_flag */
	__u32 expires_s;
	__u32 created_s;
	__u8 tx_tcp_flags;
	__u8 rx_tcp_flags;
	__u8 reserved[2];
};

/* cilium_ipv4_frag_datagrams (LRU): ports of datagrams whose first fragment was seen. */
struct frag_key {
	__be32 saddr;
	__be32 daddr;
	__be16 id;
	__u8 l4_proto;
	__u8 reserved;
};

struct frag_ports {
	__be16 sport;
	__be16 dport;
};

/* cilium_ipmasq_v4: LPM trie of destinations that pods reach with their own address. */
struct ipmasq_key {
	__u32 prefixlen;
	__be32 ipv4;
};

struct ipmasq {
	__u32 skip; /* 1 */
};

/* cilium_device_addresses: what leaves by a network device is masqueraded with; of nodes with several. */
struct device_key {
	__u32 ifindex;
};

struct device_address {
	__be32 ipv4;
};

/* cilium_l2_responder_v4: addresses that this node announces on a device, and how often it answered for them. */
struct l2_responder_key {
	__be32 ipv4;
	__u32 ifindex;
};

struct l2_responder {
	__u64 responses;
	/* By the kernel's monotonic clock; afterwards the lease may be another node's, and nothing is answered. */
	__u64 valid_until_ns;
	__u8 mac[6]; /* the device's own, which the answer names */
	__u8 reserved[2];
};

enum direction {
	DIRECTION_INGRESS = 1, /* towards a local endpoint or the host */
	DIRECTION_EGRESS = 2,  /* away from it */
};

/* Where in the source a verdict was taken; `source_line` counts within it. */
enum source_file {
	SOURCE_LXC_C = 1,
	SOURCE_HOST_C = 2,
	SOURCE_NETDEV_C = 3,
	SOURCE_OVERLAY_C = 4,
	SOURCE_ARP_H = 5,
	SOURCE_IPV4_H = 6,
	SOURCE_POLICY_H = 7,
	SOURCE_DELIVER_H = 8,
	SOURCE_ENCAP_H = 9,
	SOURCE_FIB_H = 10,
	SOURCE_REMOTE_H = 11,
	SOURCE_TUPLE_H = 12,
	SOURCE_CONNTRACK_H = 13,
	SOURCE_REWRITE_H = 14,
	SOURCE_NAT_H = 15,
	SOURCE_LB_H = 16,
	SOURCE_NODEPORT_H = 17,
	SOURCE_MASQUERADE_H = 18,
	SOURCE_DSR_H = 19,
	SOURCE_L2_RESPONDER_H = 20,
};

/* cilium_metrics: packets and bytes, per CPU. */
struct metrics_key {
	__u8 reason;	/* enum drop_reason */
	__u8 direction; /* enum direction */
	__u16 source_line;
	__u8 source_file; /* enum source_file */
	__u8 reserved[3];
};

struct metrics_value {
	__u64 packets;
	__u64 bytes; /* whole frames, Ethernet header included */
};

/* cilium_runtime: what may change without loading programs anew; one entry, index 0. */
struct runtime_info {
	__u32 trace;	      /* 1: every forwarded packet is an event too */
	__u32 clock_offset_s; /* what conntrack's clock is ahead; only tests set it */
};

enum event_type {
	EVENT_DROP = 1,
	EVENT_TRACE = 4,
	EVENT_TRACE_SOCK = 7, /* a struct sock_event */
};

/* Trace points, the `code` of EVENT_TRACE. */
enum trace_point {
	TRACE_TO_LXC = 0,
	TRACE_TO_PROXY = 1,
	TRACE_TO_HOST = 2,
	TRACE_TO_STACK = 3,
	TRACE_TO_OVERLAY = 4,
	TRACE_FROM_LXC = 5,
	TRACE_FROM_PROXY = 6,
	TRACE_FROM_HOST = 7,
	TRACE_FROM_STACK = 8,
	TRACE_FROM_OVERLAY = 9,
	TRACE_FROM_NETWORK = 10,
	TRACE_TO_NETWORK = 11,
};

/* Where a packet belongs in its flow; the flow's first packet is new, and so is one sent again before an answer. */
enum ct_state {
	CT_STATE_UNKNOWN = 0, /* nobody keeps book of this flow */
	CT_STATE_NEW = 1,
	CT_STATE_ESTABLISHED = 2,
	CT_STATE_REPLY = 3,
	CT_STATE_RELATED = 4, /* an ICMP error about it */
};

enum event_size {
	EVENT_PACKET_BYTES = 128,
};

/* cilium_events: one record of the ring buffer. */
struct event {
	__u64 time_ns;	  /* since boot, as CLOCK_MONOTONIC */
	__u8 type;	  /* enum event_type */
	__u8 code;	  /* enum drop_reason or enum trace_point, by type */
	__u8 direction;	  /* enum direction */
	__u8 source_file; /* enum source_file */
	__u16 source_line;
	__u16 endpoint_id; /* the local endpoint concerned, 0 when none */
	__u32 source_identity;
	__u32 destination_identity;
	__u32 ifindex;	 /* device whose program speaks */
	__u32 flow_hash; /* 0 when the kernel had none */
	__u32 mark;
	__u32 packet_bytes;   /* whole frame */
	__u16 captured_bytes; /* valid part of `packet` */
	__u8 ct_state;	      /* enum ct_state; of EVENT_TRACE, as what follows */
	__u8 reserved;
	__be32 original_source; /* before this node's translation; 0 where there was none */
	__be32 frontend;	/* the service of the flow; 0 none */
	__be16 frontend_port;
	__u8 reserved2[2];
	__u8 packet[EVENT_PACKET_BYTES];
};

/* Where a socket's address was seen; the `code` of EVENT_TRACE_SOCK. */
enum xlate_point {
	XLATE_PRE_FWD = 1,  /* the service that a client asks for */
	XLATE_POST_FWD = 2, /* the backend that it gets */
	XLATE_PRE_REV = 3,  /* the backend that it would be shown */
	XLATE_POST_REV = 4, /* the service that it is shown */
};

/* cilium_events, too: begins as struct event does. */
struct sock_event {
	__u64 time_ns;
	__u8 type;     /* EVENT_TRACE_SOCK */
	__u8 code;     /* enum xlate_point */
	__u8 l4_proto; /* IP protocol number */
	__u8 reserved;
	__be16 port;
	__u8 reserved2[2];
	__be32 address;
	__u8 reserved3[4];
	__u64 cgroup_id; /* of the process */
	__u64 socket_cookie;
};

/*
 * Why a packet was dropped; the number is what metrics and monitor print.
 * src/monitor has the texts.
 */
enum drop_reason {
	REASON_FORWARDED = 0,
	REASON_INTERFACE = 3,
	DROP_INVALID_SIP = 132,
	DROP_POLICY = 133,
	DROP_INVALID = 134,
	DROP_FRAG_NEEDED = 136,
	DROP_UNKNOWN_L3 = 139,
	DROP_WRITE_ERROR = 141,
	DROP_UNKNOWN_L4 = 142,
	DROP_TUNNEL_KEY = 147,
	DROP_UNROUTABLE = 151,
	DROP_CT_INSERT = 155,
	DROP_NO_SERVICE_BACKEND = 158,
	DROP_NO_TUNNEL_ENDPOINT = 160,
	DROP_NO_NAT_MAPPING = 167,
	DROP_NAT_UNSUPPORTED_PROTOCOL = 168,
	DROP_FIB_FAILED = 169,
	DROP_INVALID_IDENTITY = 171,
	DROP_IS_CLUSTER_IP = 174,
	DROP_FRAGMENT_NOT_FOUND = 175,
	DROP_NOT_IN_SOURCE_RANGE = 177,
	DROP_POLICY_DENY = 181,
	DROP_TTL_EXCEEDED = 196,
	DROP_POLICY_MAP_MISSING = 203,
};
