/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who has an address: on this node (cilium_lxc) or anywhere (cilium_ipcache). */
#pragma once

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "mark.h"

#define IPV4_BITS 32

static __always_inline const struct endpoint_info *lookup_endpoint(__be32 ipv4)
{
	struct endpoint_key key = { .ipv4 = ipv4 };

	return bpf_map_lookup_elem(&cilium_lxc, &key);
}

static __always_inline const struct ipcache_info *lookup_ipcache(__be32 ipv4)
{
	struct ipcache_key key = { .prefixlen = IPV4_BITS, .ipv4 = ipv4 };

	return bpf_map_lookup_elem(&cilium_ipcache, &key);
}

static __always_inline __u32 identity_of_address(__be32 ipv4)
{
	const struct ipcache_info *info = lookup_ipcache(ipv4);

	return info ? info->identity : IDENTITY_WORLD;
}

/*
 * Source identity of a packet that comes out of the host's stack: what the
 * program that handed it in has marked, else the node itself if it is the
 * node's address, else what the address says.
 */
static __always_inline __u32 identity_from_stack(struct __sk_buff *skb, __be32 source)
{
	__u32 identity = identity_of_mark(skb->mark);
	const struct endpoint_info *endpoint;

	if (identity != IDENTITY_UNKNOWN)
		return identity;
	endpoint = lookup_endpoint(source);
	if (endpoint)
		return endpoint->flags & ENDPOINT_F_HOST ? IDENTITY_HOST : endpoint->identity;
	return identity_of_address(source);
}
