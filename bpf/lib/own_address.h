/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who sees the pods' own addresses: whoever knows the way to them. To all others pods have the node's. */
#pragma once

#include "endpoint.h"
#include "fib.h"

/* `remote` is what the ipcache has of the peer, if anything. */
static __always_inline bool sees_own_address(__be32 peer, const struct ipcache_info *remote)
{
	struct ipmasq_key listed = { .prefixlen = IPV4_BITS, .ipv4 = peer };

	if (cfg_native_mask && (bpf_ntohl(peer) & cfg_native_mask) == cfg_native_net)
		return true;
	if (!is_unicast(peer))
		return true;
	if (remote && remote->flags & (IPCACHE_F_CLUSTER | IPCACHE_F_OWN_PODCIDR))
		return true;
	/* Behind a tunnel nobody out there knows a way back to a pod. */
	if (remote && (remote->identity == IDENTITY_HOST ||
		       (!cfg_tunnel && remote->identity == IDENTITY_REMOTE_NODE)))
		return true;
	return bpf_map_lookup_elem(&cilium_ipmasq_v4, &listed);
}

/* Host routing is for this peer. */
static __always_inline bool past_stack(__be32 peer, const struct ipcache_info *remote)
{
	return cfg_host_routing && (!cfg_stack_masquerade || sees_own_address(peer, remote));
}
