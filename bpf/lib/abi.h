/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every struct and enum that user space sees. The single source of truth: the
 * TypeScript codecs in src/maps/abi.gen.ts are generated from this file's BTF.
 * Numbers that Cilium's users know (identities, drop reasons, trace points)
 * are Cilium's. Enums are append-only. No implicit padding anywhere.
 */
#pragma once

#include "types.h"

#define ETH_ALEN_ABI 6

/* cilium_lxc: one entry per local address: pods, health, router, node. */
struct endpoint_key {
	__be32 ipv4;
};

enum endpoint_flag {
	ENDPOINT_F_HOST = 1, /* an address of this node itself: hand to the stack */
	ENDPOINT_F_POLICY_INGRESS = 2, /* slot in cilium_policy_maps is valid and enforced */
	ENDPOINT_F_POLICY_EGRESS = 4,
};

struct endpoint_info {
	__u32 ifindex; /* host side device */
	__u32 identity;
	__u16 endpoint_id;
	__u16 flags; /* enum endpoint_flag */
	__u8 mac[ETH_ALEN_ABI]; /* pod side */
	__u8 node_mac[ETH_ALEN_ABI]; /* host side */
};

/* cilium_ipcache: LPM trie from prefix to who lives there. */
struct ipcache_key {
	__u32 prefixlen;
	__be32 ipv4;
};

enum ipcache_flag {
	IPCACHE_F_OWN_PODCIDR = 1, /* a block of this node: without endpoint it is nobody (151) */
	IPCACHE_F_CLUSTER = 2, /* inside the cluster's pod ranges: needs a tunnel endpoint in tunnel mode (160) */
};

struct ipcache_info {
	__u32 identity;
	__be32 tunnel_endpoint; /* node address, 0 when none */
	__u16 flags; /* enum ipcache_flag */
	__u16 reserved;
};

/* cilium_policy_<id>: inner map of cilium_policy_maps, longest match wins. */
struct policy_key {
	__u32 prefixlen; /* POLICY_KEY_BITS when everything is given */
	__u8 egress; /* 0 ingress, 1 egress */
	__u8 reserved[3];
	__u32 identity; /* 0 any, then the rest of the key is any too */
	__u8 l4_proto;
	__u8 reserved2;
	__be16 dport;
};

struct policy_entry {
	__u8 deny;
	__u8 reserved[3];
};

/* cilium_metrics: per CPU counters. */
struct metrics_key {
	__u8 reason; /* 0 forwarded, 3 seen at interface, else /*
 * Why a packet was dropped; the number is what metrics and monitor print.
 * Programs return the negative number. src/monitor/reasons.ts has the texts.
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
	DROP_NO_TUNNEL_ENDPOINT = 160,
	DROP_FIB_FAILED = 169,
	DROP_INVALID_IDENTITY = 171,
	DROP_TTL_EXCEEDED = 196,
};
