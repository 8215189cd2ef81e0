/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The address that packets leave a network device with. */
#pragma once

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "config.h"
#include "maps.h"

/* Of the device that the packet is at; a node with one device pays nothing for it. */
static __always_inline __be32 device_address(const struct __sk_buff *skb)
{
	struct device_key key = { .ifindex = skb->ifindex };
	const struct device_address *own;

	if (!cfg_device_addresses)
		return bpf_htonl(cfg_node_ipv4);
	own = bpf_map_lookup_elem(&cilium_device_addresses, &key);
	return own ? own->ipv4 : bpf_htonl(cfg_node_ipv4);
}

static __always_inline bool is_own_address(const struct __sk_buff *skb, __be32 address)
{
	return address == bpf_htonl(cfg_node_ipv4) ||
	       (cfg_device_addresses && address == device_address(skb));
}
