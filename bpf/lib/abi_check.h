/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The sizes user space relies on. A hole would be read as garbage by map dumps and hash keys. */
#pragma once

#include "abi.h"

_Static_assert(sizeof(struct endpoint_key) == 4, "endpoint_key");
_Static_assert(sizeof(struct endpoint_info) == 24, "endpoint_info");
_Static_assert(sizeof(struct ipcache_key) == 8, "ipcache_key");
_Static_assert(sizeof(struct ipcache_info) == 12, "ipcache_info");
_Static_assert(sizeof(struct policy_key) == 16, "policy_key");
_Static_assert(offsetof(struct policy_key, l4_proto) == 4 + POLICY_PREFIX_L3 / 8, "policy_key L3");
_Static_assert(offsetof(struct policy_key, dport) == 4 + POLICY_PREFIX_L4_PROTO / 8,
	       "policy_key L4");
_Static_assert(sizeof(struct policy_key) == 4 + POLICY_PREFIX_FULL / 8, "policy_key whole");
_Static_assert(sizeof(struct policy_entry) == 4, "policy_entry");
_Static_assert(sizeof(struct metrics_key) == 8, "metrics_key");
_Static_assert(sizeof(struct metrics_value) == 16, "metrics_value");
_Static_assert(sizeof(struct runtime_info) == 8, "runtime_info");
_Static_assert(sizeof(struct event) == 56 + EVENT_PACKET_BYTES, "event");
_Static_assert(sizeof(struct sock_event) == 40, "sock_event");
_Static_assert(offsetof(struct sock_event, code) == offsetof(struct event, code), "event code");
_Static_assert(sizeof(struct lb4_key) == 12, "lb4_key");
_Static_assert(sizeof(struct lb4_service) == 16, "lb4_service");
_Static_assert(sizeof(struct lb4_backend_key) == 4, "lb4_backend_key");
_Static_assert(sizeof(struct lb4_backend) == 8, "lb4_backend");
_Static_assert(sizeof(struct lb4_reverse_nat_key) == 4, "lb4_reverse_nat_key");
_Static_assert(sizeof(struct lb4_reverse_nat) == 8, "lb4_reverse_nat");
_Static_assert(sizeof(struct lb4_affinity_key) == 16, "lb4_affinity_key");
_Static_assert(sizeof(struct lb4_affinity) == 16, "lb4_affinity");
_Static_assert(sizeof(struct lb4_source_range_key) == 12, "lb4_source_range_key");
_Static_assert(sizeof(struct lb4_source_range) == 4, "lb4_source_range");
_Static_assert(sizeof(struct lb4_reverse_sk_key) == 16, "lb4_reverse_sk_key");
_Static_assert(sizeof(struct lb4_reverse_sk) == 12, "lb4_reverse_sk");
_Static_assert(sizeof(struct lb4_socket) == 32, "lb4_socket");
_Static_assert(sizeof(struct lb4_maglev_key) == 8, "lb4_maglev_key");
_Static_assert(sizeof(struct lb4_maglev) == 4 * LB_MAGLEV_TABLE, "lb4_maglev");
_Static_assert(sizeof(struct l2_responder_key) == 8, "l2_responder_key");
_Static_assert(sizeof(struct l2_responder) == 24, "l2_responder");
_Static_assert(sizeof(struct ct_key) == 16, "ct_key");
_Static_assert(sizeof(struct ct_entry) == 48, "ct_entry");
_Static_assert(sizeof(struct nat_key) == sizeof(struct ct_key), "nat_key");
_Static_assert(sizeof(struct nat_entry) == 20, "nat_entry");
_Static_assert(sizeof(struct frag_key) == 12, "frag_key");
_Static_assert(sizeof(struct frag_ports) == 4, "frag_ports");
_Static_assert(sizeof(struct ipmasq_key) == 8, "ipmasq_key");
_Static_assert(sizeof(struct ipmasq) == 4, "ipmasq");
_Static_assert(sizeof(struct device_key) == 4, "device_key");
_Static_assert(sizeof(struct device_address) == 4, "device_address");
