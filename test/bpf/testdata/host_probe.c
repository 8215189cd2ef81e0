/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* As lxc_probe.c, for what the host sends to the pods. */
struct __sk_buff;
int cil_from_host(struct __sk_buff *skb) __attribute__((always_inline));

#include "../../../bpf/host.c"
#include "cut.h"

SEC("tc")
int probe_from_host(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	int verdict;

	cut(skb);
	verdict = cil_from_host(skb);
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) == 0) {
		skb->cb[0] = key.tunnel_id;
		skb->cb[1] =
			key.local_ipv4; /* on the sending side the kernel shows the destination here */
	}
	return verdict;
}
