/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * lxc.c and a program that runs its entry and then tells, in the control block
 * that BPF_PROG_TEST_RUN hands back, with which tunnel key the packet left.
 */
struct __sk_buff;
int cil_to_container(struct __sk_buff *skb) __attribute__((always_inline));
int cil_from_container(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/lxc.c"
#include "cut.h"

SEC("tc")
int probe_from_container(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	int verdict;

	cut(skb);
	verdict = cil_from_container(skb);
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) == 0) {
		skb->cb[0] = key.tunnel_id;
		skb->cb[1] =
			key.local_ipv4; /* on the sending side the kernel shows the destination here */
	}
	return verdict;
}

SEC("tc")
int probe_to_container(struct __sk_buff *skb)
{
	cut(skb);
	return cil_to_container(skb);
}
