/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCX links by raw bpf(2): the oldest supported libbpf and its headers (Linux 6.1) do not know them. The
 * structures below are the kernel's ABI, cut down to what is used.
 */
#include <cerrno>
#include <cstring>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include <bpf/bpf.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"
#include "netns.h"

namespace fimbria
{

static constexpr uint32_t kTcxIngress = 46;
static constexpr uint32_t kTcxEgress = 47;
static constexpr uint32_t kLinkTypeTcx = 11;
/* More programs than anybody attaches to one side of a device. */
static constexpr uint32_t kMaxPrograms = 64;

struct LinkCreate {
	uint32_t prog_fd;
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad;
	uint64_t expected_revision;
	uint8_t rest[96];
};
static_assert(sizeof(LinkCreate) == 128, "the kernel wants what is unused to be zero");

struct ProgQuery {
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t query_flags;
	uint32_t attach_flags;
	uint64_t prog_ids;
	uint32_t count;
	uint32_t pad;
	uint64_t prog_attach_flags;
	uint64_t link_ids;
	uint64_t link_attach_flags;
	uint64_t revision;
	uint8_t rest[64];
};
static_assert(sizeof(ProgQuery) == 128, "the kernel wants what is unused to be zero");

struct LinkInfo {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad;
	uint32_t ifindex;
	uint32_t attach_type;
	uint8_t rest[104];
};

static long Bpf(enum bpf_cmd command, void *attributes, size_t size)
{
	return syscall(__NR_bpf, command, attributes, size);
}

static uint32_t AttachType(const Napi::Value &egress)
{
	return egress.ToBoolean() ? kTcxEgress : kTcxIngress;
}

static std::string Named(uint32_t ifindex, uint32_t attach_type)
{
	return std::string(attach_type == kTcxEgress ? "tcx egress" : "tcx ingress") +
	       " of device " + std::to_string(ifindex);
}

static Napi::Value TcxAttach(const Napi::CallbackInfo &info)
{
	LinkCreate attributes = {};
	attributes.target_ifindex = Uint32Of(info[0], "ifindex");
	attributes.attach_type = AttachType(info[1]);
	attributes.prog_fd = Handle::From(info[2], Kind::kProgram, "attach").fd();
	SharedFd link;
	RunInNetns(NetnsOf(info[3]), [&] {
		link = Own(Bpf(BPF_LINK_CREATE, &attributes, sizeof(attributes)), "attach",
			   Named(attributes.target_ifindex, attributes.attach_type));
	});
	return Handle::New(info.Env(), Kind::kLink, link);
}

static Napi::Value TcxQuery(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::vector<uint32_t> programs(kMaxPrograms), links(kMaxPrograms);
	ProgQuery attributes = {};
	attributes.target_ifindex = Uint32Of(info[0], "ifindex");
	attributes.attach_type = AttachType(info[1]);
	attributes.prog_ids = reinterpret_cast<uintptr_t>(programs.data());
	attributes.link_ids = reinterpret_cast<uintptr_t>(links.data());
	attributes.count = kMaxPrograms;
	RunInNetns(NetnsOf(info[2]), [&] {
		if (Bpf(BPF_PROG_QUERY, &attributes, sizeof(attributes)))
			throw Refused(errno, "query",
				      Named(attributes.target_ifindex, attributes.attach_type));
	});
	Napi::Object result = Napi::Object::New(env);
	result.Set("revision", Napi::BigInt::New(env, attributes.revision));
	Napi::Array list = Napi::Array::New(env, attributes.count);
	for (uint32_t i = 0; i < attributes.count; i++) {
		Napi::Object entry = Napi::Object::New(env);
		entry.Set("programId", programs[i]);
		entry.Set("linkId", links[i]);
		list.Set(i, entry);
	}
	result.Set("programs", list);
	return result;
}

static Napi::Value LinkFromPin(const Napi::CallbackInfo &info)
{
	return Handle::OpenPin(info, Kind::kLink);
}

static Napi::Value LinkUpdate(const Napi::CallbackInfo &info)
{
	Handle &link = Handle::From(info[0], Kind::kLink, "update");
	Handle &program = Handle::From(info[1], Kind::kProgram, "attach");
	if (bpf_link_update(link.fd(), program.fd(), nullptr))
		throw Refused(errno, "update", "link");
	return info.Env().Undefined();
}

static Napi::Value LinkDetach(const Napi::CallbackInfo &info)
{
	Handle &link = Handle::From(info[0], Kind::kLink, "detach");
	/* ENOLINK: its device is gone, so there is nothing to take it off. */
	if (bpf_link_detach(link.fd()) && errno != ENOLINK)
		throw Refused(errno, "detach", "link");
	return info.Env().Undefined();
}

static Napi::Value GetLinkInfo(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &link = Handle::From(info[0], Kind::kLink, "inspect");
	LinkInfo facts = {};
	uint32_t length = sizeof(facts);
	if (bpf_obj_get_info_by_fd(link.fd(), &facts, &length))
		throw Refused(errno, "inspect", "link");
	bool tcx = facts.type == kLinkTypeTcx;
	Napi::Object result = Napi::Object::New(env);
	result.Set("type", facts.type);
	result.Set("id", facts.id);
	result.Set("programId", facts.prog_id);
	result.Set("ifindex", tcx ? facts.ifindex : 0);
	result.Set("attachType", tcx ? facts.attach_type : 0);
	return result;
}

void RegisterTcx(Napi::Env env, Napi::Object exports)
{
	exports.Set("tcxAttach", Napi::Function::New<Callback<TcxAttach>>(env));
	exports.Set("tcxQuery", Napi::Function::New<Callback<TcxQuery>>(env));
	exports.Set("linkFromPin", Napi::Function::New<Callback<LinkFromPin>>(env));
	exports.Set("linkUpdate", Napi::Function::New<Callback<LinkUpdate>>(env));
	exports.Set("linkDetach", Napi::Function::New<Callback<LinkDetach>>(env));
	exports.Set("linkInfo", Napi::Function::New<Callback<GetLinkInfo>>(env));
}

} // namespace fimbria
