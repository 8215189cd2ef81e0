/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Node-wide options, written by user space before the object is loaded. The
 * verifier then knows their values and removes the branches not taken, so one
 * object serves every configuration. Every object has every option.
 */
#pragma once

#include "types.h"

/* Remote pods are reached through cilium_vxlan, not through the node network. */
const volatile bool cfg_tunnel = false;
/* Every endpoint has its own route and cil_to_container on its device. */
const volatile bool cfg_endpoint_routes = false;
/* `Host: BPF`: pods bypass the host's network stack. */
const volatile bool cfg_host_routing = false;
const volatile __u32 cfg_overlay_ifindex = 0;
/* The node's own address, in the machine's order, and the device that carries it. */
const volatile __u32 cfg_node_ipv4 = 0;
const volatile __u32 cfg_direct_ifindex = 0;
/* Largest IPv4 packet of a pod that reaches another node in one piece, through the tunnel or without. */
const volatile __u32 cfg_route_mtu = 0;

/* Services are translated packet by packet: what comes to this node from outside, and what pods send. */
const volatile bool cfg_node_port = false;
const volatile bool cfg_pod_lb = false;
/* Sockets of this network namespace only have services translated; 0: of all. */
const volatile __u64 cfg_socket_netns = 0;
/* Native mode: remote backends answer the client themselves, where the service says so. */
const volatile bool cfg_dsr = false;
/* What pods send out of the cluster leaves with the node's address. */
const volatile bool cfg_masquerade = false;
/*
 * The node's netfilter does so instead: it must see both ways of whatever it may
 * have to do with, so host routing keeps to peers that see pods' own addresses.
 */
const volatile bool cfg_stack_masquerade = false;
/* Network devices have addresses of their own, in cilium_device_addresses: the node has several. */
const volatile bool cfg_device_addresses = false;
/* Destinations that see pods' own addresses, in the machine's order; mask 0: none. */
const volatile __u32 cfg_native_net = 0;
const volatile __u32 cfg_native_mask = 0;
/* Router's address in the machine's order: what packets through the tunnel come from. */
const volatile __u32 cfg_router_ipv4 = 0;
/* Ports that translation never takes: those of services. */
const volatile __u16 cfg_node_port_min = 30000;
const volatile __u16 cfg_node_port_max = 32767;
/* bpf_set_retval is there for programs at sockets (Linux 5.18): who asks for a service without backends learns so. */
const volatile bool cfg_set_retval = false;
/* ARP requests for the addresses in cilium_l2_responder_v4 are answered on network devices. */
const volatile bool cfg_l2_announcements = false;
