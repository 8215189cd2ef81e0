/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Into the tunnel: one collect-metadata device, the sender's identity as VNI. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "config.h"
#include "stack.h"

/* The key as kernel 5.15 knows it: later ones accept the shorter form, earlier ones refuse the longer. */
#define TUNNEL_KEY_BYTES offsetof(struct bpf_tunnel_key, local_ipv4)
#define TUNNEL_TTL	 64

static __always_inline int encapsulate(struct __sk_buff *skb, const struct ipcache_info *remote,
				       const struct flow *flow)
{
	struct bpf_tunnel_key key = {
		/* "host" means the receiver's own host there, so it never goes on the wire. */
		.tunnel_id = flow->source_identity == IDENTITY_HOST ? IDENTITY_REMOTE_NODE
								    : flow->source_identity,
		.remote_ipv4 = bpf_ntohl(remote->tunnel_endpoint),
		.tunnel_ttl = TUNNEL_TTL,
	};

	if (bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, BPF_F_ZERO_CSUM_TX) < 0)
		return DROP(SOURCE_ENCAP_H, DROP_TUNNEL_KEY);
	forwarded(skb, flow, TRACE_TO_OVERLAY, SOURCE_ENCAP_H);
	return bpf_redirect(cfg_overlay_ifindex, 0);
}

/*
 * A pod's packet. What the tunnel cannot carry goes to the stack, whose route
 * has the tunnel's MTU: it answers "fragmentation needed", or cuts the packet
 * and sends the pieces to cil_from_host.
 */
static __always_inline int encapsulate_from_pod(struct __sk_buff *skb,
						const struct ipv4_packet *packet,
						const struct ipcache_info *remote,
						const struct flow *flow)
{
	if (unlikely(!ttl_allows_forwarding(packet->ip) ||
		     wire_bytes(skb, packet->ip) > cfg_route_mtu))
		return to_stack(skb, flow, TRACE_TO_STACK, SOURCE_ENCAP_H);
	decrement_ttl(packet->ip);
	return encapsulate(skb, remote, flow);
}
