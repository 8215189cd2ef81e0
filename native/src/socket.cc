/* SPDX-License-Identifier: Apache-2.0 */
/* TCP, ICMP and packet sockets that belong to a given namespace. */
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"
#include "netns.h"

namespace fimbria
{

static constexpr size_t kDatagramBytes = 65536;

static struct sockaddr_in AddressOf(const Napi::Value &value, uint16_t port)
{
	std::string text = StringOf(value, "address");
	struct sockaddr_in address = {};
	address.sin_family = AF_INET;
	address.sin_port = htons(port);
	if (inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1)
		throw Failure("EINVAL", "use", "address " + text, "it is no IPv4 address");
	return address;
}

static SharedFd OpenTcp()
{
	return Own(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "open",
		   "TCP socket");
}

static Napi::Value TcpListen(const Napi::CallbackInfo &info)
{
	uint32_t port = Uint32Of(info[1], "port");
	if (port > UINT16_MAX)
		throw Failure("EINVAL", "use", "port " + std::to_string(port), "it is above 65535");
	struct sockaddr_in address = AddressOf(info[0], port);
	std::string name = "on " + StringOf(info[0], "address") + ":" + std::to_string(port);
	uint32_t backlog = Uint32Of(info[2], "backlog");
	SharedFd fd;
	RunInNetns(NetnsOf(info[3]), [&] {
		fd = OpenTcp();
		int on = 1;
		setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd->get(), reinterpret_cast<struct sockaddr *>(&address),
			 sizeof(address)) ||
		    listen(fd->get(), backlog))
			throw Refused(errno, "listen", name);
	});
	return Handle::New(info.Env(), Kind::kSocket, fd);
}

static Napi::Value TcpSocket(const Napi::CallbackInfo &info)
{
	SharedFd fd;
	RunInNetns(NetnsOf(info[0]), [&] { fd = OpenTcp(); });
	return Handle::New(info.Env(), Kind::kSocket, fd);
}

static Napi::Value IcmpSocket(const Napi::CallbackInfo &info)
{
	SharedFd fd;
	RunInNetns(NetnsOf(info[0]), [&] {
		fd = Own(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP),
			 "open", "ICMP socket");
	});
	struct icmp_filter filter;
	filter.data = ~(1u << ICMP_ECHOREPLY | 1u << ICMP_DEST_UNREACH | 1u << ICMP_TIME_EXCEEDED);
	int on = 1;
	int whole = IP_PMTUDISC_DO;
	if (setsockopt(fd->get(), SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)) ||
	    setsockopt(fd->get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ||
	    (info[1].ToBoolean() &&
	     setsockopt(fd->get(), IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof(whole))))
		throw Refused(errno, "configure", "ICMP socket");
	return Handle::New(info.Env(), Kind::kSocket, fd);
}

static uint64_t Nanoseconds(const struct timespec &time)
{
	return uint64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

static Napi::Value IcmpSend(const Napi::CallbackInfo &info)
{
	Handle &socket = Handle::From(info[0], Kind::kSocket, "send");
	struct sockaddr_in address = AddressOf(info[1], 0);
	Bytes packet = BytesOf(info[2], "packet");
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (sendto(socket.fd(), packet.data, packet.size, 0,
		   reinterpret_cast<struct sockaddr *>(&address), sizeof(address)) < 0)
		throw Refused(errno, "ping", StringOf(info[1], "address"));
	return Napi::BigInt::New(info.Env(), Nanoseconds(now));
}

static Napi::Value IcmpReceive(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &socket = Handle::From(info[0], Kind::kSocket, "receive");
	std::vector<uint8_t> data(kDatagramBytes);
	alignas(struct cmsghdr) char control[256];
	struct iovec part = { data.data(), data.size() };
	struct msghdr message = {};
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	ssize_t got = recvmsg(socket.fd(), &message, MSG_DONTWAIT);
	/* Errors that routers reported come as packets, too: they are read there. */
	if (got < 0)
		return env.Undefined();
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item;
	     item = CMSG_NXTHDR(&message, item))
		if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_TIMESTAMPNS)
			memcpy(&time, CMSG_DATA(item), sizeof(time));
	Napi::Object result = Napi::Object::New(env);
	result.Set("data", BufferOf(env, data.data(), got));
	result.Set("timeNs", Napi::BigInt::New(env, Nanoseconds(time)));
	return result;
}

/* One whole frame out of a device, past qdiscs' programs no more than any other. */
static Napi::Value PacketSend(const Napi::CallbackInfo &info)
{
	struct sockaddr_ll address = {};
	address.sll_family = AF_PACKET;
	address.sll_ifindex = int(Uint32Of(info[0], "ifindex"));
	address.sll_halen = ETH_ALEN;
	Bytes frame = BytesOf(info[1], "frame");
	SharedFd fd;
	RunInNetns(NetnsOf(info[2]), [&] {
		fd = Own(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "open", "packet socket");
	});
	if (sendto(fd->get(), frame.data, frame.size, MSG_DONTWAIT,
		   reinterpret_cast<struct sockaddr *>(&address), sizeof(address)) < 0)
		throw Refused(errno, "send frame",
			      "on device " + std::to_string(address.sll_ifindex));
	return info.Env().Undefined();
}

void RegisterSocket(Napi::Env env, Napi::Object exports)
{
	exports.Set("tcpListen", Napi::Function::New<Callback<TcpListen>>(env));
	exports.Set("tcpSocket", Napi::Function::New<Callback<TcpSocket>>(env));
	exports.Set("icmpSocket", Napi::Function::New<Callback<IcmpSocket>>(env));
	exports.Set("icmpSend", Napi::Function::New<Callback<IcmpSend>>(env));
	exports.Set("icmpReceive", Napi::Function::New<Callback<IcmpReceive>>(env));
	exports.Set("packetSend", Napi::Function::New<Callback<PacketSend>>(env));
}

} // namespace fimbria
