/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink sockets. Messages are built and read in TypeScript; here bytes go back and forth. */
#include <cerrno>
#include <memory>
#include <set>
#include <sys/socket.h>
#include <vector>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"
#include "netns.h"
#include "task.h"

namespace fimbria
{

/* The kernel answers at once; a lock held for longer than this means that something is broken. */
static constexpr time_t kAnswerSeconds = 60;
static constexpr int kReceiveBytes = 4 << 20;
/* A dump comes in parts of at most 32 KiB. */
static constexpr size_t kChunkBytes = 256 << 10;
static constexpr int kDatagramsAtOnce = 64;
/* More than fit into the queue. */
static constexpr int kDrainAtMost = 1 << 17;

static void SetOption(int fd, int level, int option, int value, const char *name)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		throw Refused(errno, "configure", std::string("netlink socket: ") + name);
}

static SharedFd OpenSocket(const std::vector<uint32_t> &groups, int protocol = NETLINK_ROUTE)
{
	SharedFd fd = Own(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), "open",
			  "netlink socket");
	SetOption(fd->get(), SOL_NETLINK, NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK");
	SetOption(fd->get(), SOL_NETLINK, NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK");
	SetOption(fd->get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1, "NETLINK_GET_STRICT_CHK");
	/* A larger queue is a courtesy that needs CAP_NET_ADMIN: an overrun is handled anyway. */
	int bytes = kReceiveBytes;
	setsockopt(fd->get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	/* A transaction of netfilter is one datagram. */
	setsockopt(fd->get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	struct timeval timeout = { kAnswerSeconds, 0 };
	setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	struct sockaddr_nl address = {};
	address.nl_family = AF_NETLINK;
	if (bind(fd->get(), reinterpret_cast<struct sockaddr *>(&address), sizeof(address)))
		throw Refused(errno, "bind", "netlink socket");
	for (uint32_t group : groups)
		SetOption(fd->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group,
			  "NETLINK_ADD_MEMBERSHIP");
	return fd;
}

static Napi::Value NetlinkOpen(const Napi::CallbackInfo &info)
{
	std::vector<uint32_t> groups;
	if (!info[0].IsArray())
		throw Failure("EINVAL", "open", "netlink socket", "groups are no array");
	Napi::Array list = info[0].As<Napi::Array>();
	for (uint32_t i = 0; i < list.Length(); i++)
		groups.push_back(Uint32Of(list.Get(i), "netlink group"));
	uint32_t protocol = IsNothing(info[2]) ? static_cast<uint32_t>(NETLINK_ROUTE)
					       : Uint32Of(info[2], "netlink protocol");
	SharedFd fd;
	RunInNetns(NetnsOf(info[1]), [&] { fd = OpenSocket(groups, protocol); });
	return Handle::New(info.Env(), Kind::kSocket, fd);
}

/* Sequence numbers of the requests in a train. */
static std::set<uint32_t> Sequences(const std::vector<uint8_t> &train)
{
	std::set<uint32_t> result;
	int left = train.size();
	for (auto *header = reinterpret_cast<const struct nlmsghdr *>(train.data());
	     NLMSG_OK(header, static_cast<unsigned int>(left)); header = NLMSG_NEXT(header, left))
		result.insert(header->nlmsg_seq);
	return result;
}

/* Takes the sequence numbers off that this chunk ends. */
static void Settle(const uint8_t *data, size_t size, std::set<uint32_t> &open)
{
	int left = size;
	for (auto *header = reinterpret_cast<const struct nlmsghdr *>(data);
	     NLMSG_OK(header, static_cast<unsigned int>(left)); header = NLMSG_NEXT(header, left))
		if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE)
			open.erase(header->nlmsg_seq);
}

static std::vector<uint8_t> Transact(int fd, const std::vector<uint8_t> &train)
{
	std::set<uint32_t> open = Sequences(train);
	struct sockaddr_nl kernel = {};
	kernel.nl_family = AF_NETLINK;
	ssize_t sent;
	do {
		sent = sendto(fd, train.data(), train.size(), 0,
			      reinterpret_cast<struct sockaddr *>(&kernel), sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	if (sent != static_cast<ssize_t>(train.size()))
		throw Refused(sent < 0 ? errno : EMSGSIZE, "send", "netlink request");

	std::vector<uint8_t> answer;
	std::unique_ptr<uint8_t[]> chunk(new uint8_t[kChunkBytes]);
	while (!open.empty()) {
		ssize_t got = recv(fd, chunk.get(), kChunkBytes, MSG_TRUNC);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			throw Refused(errno == EAGAIN ? ETIMEDOUT : errno, "receive",
				      "netlink answer");
		if (got > static_cast<ssize_t>(kChunkBytes))
			throw Refused(EMSGSIZE, "receive", "netlink answer");
		Settle(chunk.get(), got, open);
		answer.insert(answer.end(), chunk.get(), chunk.get() + got);
	}
	return answer;
}

static Napi::Value NetlinkTransact(const Napi::CallbackInfo &info)
{
	SharedFd fd = Handle::From(info[0], Kind::kSocket, "use").shared();
	Bytes bytes = BytesOf(info[1], "netlink train");
	std::vector<uint8_t> train(bytes.data, bytes.data + bytes.size);
	return Task<std::vector<uint8_t>>::Start(
		info.Env(), [fd, train] { return Transact(fd->get(), train); },
		[](Napi::Env env, std::vector<uint8_t> &answer) {
			return BufferOf(env, answer.data(), answer.size());
		});
}

/* Whether an answer says that a request was refused. */
static bool AnyRefused(const std::vector<uint8_t> &answer)
{
	int left = answer.size();
	for (auto *header = reinterpret_cast<const struct nlmsghdr *>(answer.data());
	     NLMSG_OK(header, static_cast<unsigned int>(left)); header = NLMSG_NEXT(header, left))
		if (header->nlmsg_type == NLMSG_ERROR &&
		    static_cast<const struct nlmsgerr *>(NLMSG_DATA(header))->error)
			return true;
	return false;
}

/* A train for a socket of its own in one namespace; null = the thread's own. */
struct Step {
	SharedFd netns;
	std::vector<uint8_t> train;
};

using Answers = std::vector<std::vector<uint8_t>>;

/* All steps on one thread of the pool: between them nobody waits for the event loop. */
static Answers WalkSteps(const std::vector<Step> &steps)
{
	Answers answers;
	for (const Step &step : steps) {
		SharedFd fd;
		RunInNetns(step.netns, [&] { fd = OpenSocket({}); });
		answers.push_back(Transact(fd->get(), step.train));
		if (AnyRefused(answers.back()))
			break;
	}
	return answers;
}

static Napi::Value NetlinkSteps(const Napi::CallbackInfo &info)
{
	if (!info[0].IsArray())
		throw Failure("EINVAL", "use", "netlink steps", "they are no array");
	Napi::Array list = info[0].As<Napi::Array>();
	std::vector<Step> steps;
	for (uint32_t i = 0; i < list.Length(); i++) {
		Napi::Object step = Napi::Value(list.Get(i)).ToObject();
		Bytes bytes = BytesOf(step.Get("train"), "netlink train");
		steps.push_back({ NetnsOf(step.Get("netns")),
				  std::vector<uint8_t>(bytes.data, bytes.data + bytes.size) });
	}
	return Task<Answers>::Start(
		info.Env(), [steps] { return WalkSteps(steps); },
		[](Napi::Env env, Answers &answers) {
			Napi::Array result = Napi::Array::New(env);
			for (const std::vector<uint8_t> &answer : answers)
				result.Set(result.Length(),
					   BufferOf(env, answer.data(), answer.size()));
			return result;
		});
}

/*
 * After an overrun everything that waits is thrown away: while the queue is not empty the kernel goes on
 * dropping without saying so again, and who lists anew after the queue was empty misses nothing.
 */
static void Drain(int fd)
{
	uint8_t ignored;
	for (int i = 0; i < kDrainAtMost; i++)
		if (recv(fd, &ignored, sizeof(ignored), MSG_DONTWAIT) < 0 && errno == EAGAIN)
			return;
}

static Napi::Value NetlinkReceive(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &socket = Handle::From(info[0], Kind::kSocket, "read");
	std::vector<uint8_t> data;
	std::unique_ptr<uint8_t[]> chunk(new uint8_t[kChunkBytes]);
	bool overrun = false;
	for (int i = 0; i < kDatagramsAtOnce && !overrun; i++) {
		ssize_t got = recv(socket.fd(), chunk.get(), kChunkBytes, MSG_DONTWAIT);
		if (got > 0)
			data.insert(data.end(), chunk.get(), chunk.get() + got);
		if (got >= 0 || errno == EINTR)
			continue;
		if (errno == EAGAIN)
			break;
		if (errno != ENOBUFS)
			throw Refused(errno, "receive", "netlink events");
		Drain(socket.fd());
		data.clear();
		overrun = true;
	}
	Napi::Object result = Napi::Object::New(env);
	result.Set("data", BufferOf(env, data.data(), data.size()));
	result.Set("overrun", Napi::Boolean::New(env, overrun));
	return result;
}

void RegisterNetlink(Napi::Env env, Napi::Object exports)
{
	exports.Set("netlinkOpen", Napi::Function::New<Callback<NetlinkOpen>>(env));
	exports.Set("netlinkTransact", Napi::Function::New<Callback<NetlinkTransact>>(env));
	exports.Set("netlinkSteps", Napi::Function::New<Callback<NetlinkSteps>>(env));
	exports.Set("netlinkReceive", Napi::Function::New<Callback<NetlinkReceive>>(env));
}

} // namespace fimbria
