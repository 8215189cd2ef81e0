/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* BPF_PROG_TEST_RUN refuses frames that break off within the IPv4 header; a device does not. */
#pragma once

/* Shortens the frame to cb[1] bytes, where that is given. */
static __always_inline void cut(struct __sk_buff *skb)
{
	if (skb->cb[1])
		bpf_skb_change_tail(skb, skb->cb[1], 0);
}
