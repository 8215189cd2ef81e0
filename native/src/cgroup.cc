/* SPDX-License-Identifier: Apache-2.0 */
/* Links of programs to a cgroup v2: they see the sockets of the processes in it and below. */
#include <cerrno>
#include <fcntl.h>
#include <string>

#include <bpf/bpf.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"

namespace fimbria
{

static Napi::Value CgroupAttach(const Napi::CallbackInfo &info)
{
	std::string path = StringOf(info[0], "cgroup");
	uint32_t attach_type = Uint32Of(info[1], "attach type");
	int program = Handle::From(info[2], Kind::kProgram, "attach").fd();
	SharedFd cgroup = Own(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open",
			      "cgroup " + path);
	int link = bpf_link_create(program, cgroup->get(),
				   static_cast<enum bpf_attach_type>(attach_type), nullptr);
	return Handle::New(info.Env(), Kind::kLink, Own(link, "attach to", "cgroup " + path));
}

static Napi::Value CgroupLinkInfo(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &link = Handle::From(info[0], Kind::kLink, "inspect");
	struct bpf_link_info facts = {};
	uint32_t length = sizeof(facts);
	if (bpf_obj_get_info_by_fd(link.fd(), &facts, &length))
		throw Refused(errno, "inspect", "link");
	bool cgroup = facts.type == BPF_LINK_TYPE_CGROUP;
	Napi::Object result = Napi::Object::New(env);
	result.Set("id", facts.id);
	result.Set("programId", facts.prog_id);
	result.Set("cgroupId",
		   Napi::BigInt::New(env, uint64_t(cgroup ? facts.cgroup.cgroup_id : 0)));
	result.Set("attachType", cgroup ? facts.cgroup.attach_type : 0);
	return result;
}

void RegisterCgroup(Napi::Env env, Napi::Object exports)
{
	exports.Set("cgroupAttach", Napi::Function::New<Callback<CgroupAttach>>(env));
	exports.Set("cgroupLinkInfo", Napi::Function::New<Callback<CgroupLinkInfo>>(env));
}

} // namespace fimbria
