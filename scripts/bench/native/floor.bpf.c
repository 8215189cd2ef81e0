/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The least that a pod network of this kind can do: into the other pod, nothing looked at. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

const volatile __u32 cfg_peer_ifindex = 0;

SEC("tc")
int floor(struct __sk_buff *skb)
{
	return bpf_redirect_peer(cfg_peer_ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
