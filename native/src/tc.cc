/* SPDX-License-Identifier: Apache-2.0 */
/* Direct-action filters on clsact, through libbpf. */
#include <cerrno>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "addon.h"
#include "args.h"
#include "failure.h"
#include "handle.h"
#include "libbpf_log.h"
#include "netns.h"

namespace fimbria
{

/* A slot on a device. */
struct Target {
	struct bpf_tc_hook hook;
	uint32_t handle;
	uint32_t priority;
	SharedFd netns;

	std::string name() const
	{
		return std::string(hook.attach_point == BPF_TC_EGRESS ? "egress" : "ingress") +
		       " filter of device " + std::to_string(hook.ifindex);
	}
};

static Target TargetOf(const Napi::Value &value)
{
	if (!value.IsObject())
		throw Failure("EINVAL", "use", "tc target", "it is no object");
	Napi::Object object = value.As<Napi::Object>();
	Target target = {};
	target.hook.sz = sizeof(target.hook);
	target.hook.ifindex = Uint32Of(object.Get("ifindex"), "ifindex");
	target.hook.attach_point =
		object.Get("egress").ToBoolean() ? BPF_TC_EGRESS : BPF_TC_INGRESS;
	target.handle = Uint32Of(object.Get("handle"), "filter handle");
	target.priority = Uint32Of(object.Get("priority"), "filter priority");
	target.netns = NetnsOf(object.Get("netns"));
	return target;
}

/* What the kernel answers when the filter, its chain, clsact or the device is not there. */
static bool IsAbsent(int err)
{
	return err == -ENOENT || err == -EINVAL || err == -ENODEV;
}

/* The failure with the kernel's own words, which libbpf prints but does not return. */
static Failure TcRefused(int err, const char *op, const Target &target, const LibbpfLog &log)
{
	Failure failure = Refused(-err, op, target.name());
	std::string reason = log.reason();
	const std::string prefix = "Kernel error message: ";
	if (reason.compare(0, prefix.size(), prefix) == 0)
		failure.why = reason.substr(prefix.size()) + " (" + failure.code + ")";
	return failure;
}

static Napi::Value TcAttach(const Napi::CallbackInfo &info)
{
	Target target = TargetOf(info[0]);
	Handle &program = Handle::From(info[1], Kind::kProgram, "attach");
	RunInNetns(target.netns, [&] {
		{
			LibbpfLog log;
			int err = bpf_tc_hook_create(&target.hook);
			if (err && err != -EEXIST)
				throw TcRefused(err, "create clsact for", target, log);
		}
		LIBBPF_OPTS(bpf_tc_opts, options);
		options.handle = target.handle;
		options.priority = target.priority;
		options.prog_fd = program.fd();
		options.flags = BPF_TC_F_REPLACE;
		LibbpfLog log;
		int err = bpf_tc_attach(&target.hook, &options);
		if (err)
			throw TcRefused(err, "attach", target, log);
	});
	return info.Env().Undefined();
}

static Napi::Value TcQuery(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Target target = TargetOf(info[0]);
	LIBBPF_OPTS(bpf_tc_opts, options);
	options.handle = target.handle;
	options.priority = target.priority;
	int err = 0;
	RunInNetns(target.netns, [&] {
		LibbpfLog log;
		err = bpf_tc_query(&target.hook, &options);
		if (err && !IsAbsent(err))
			throw TcRefused(err, "query", target, log);
	});
	if (err)
		return env.Undefined();
	Napi::Object result = Napi::Object::New(env);
	result.Set("programId", options.prog_id);
	result.Set("handle", options.handle);
	result.Set("priority", options.priority);
	return result;
}

static Napi::Value TcDetach(const Napi::CallbackInfo &info)
{
	Target target = TargetOf(info[0]);
	LIBBPF_OPTS(bpf_tc_opts, options);
	options.handle = target.handle;
	options.priority = target.priority;
	int err = 0;
	RunInNetns(target.netns, [&] {
		LibbpfLog log;
		err = bpf_tc_detach(&target.hook, &options);
		if (err && !IsAbsent(err))
			throw TcRefused(err, "detach", target, log);
	});
	return Napi::Boolean::New(info.Env(), !err);
}

void RegisterTc(Napi::Env env, Napi::Object exports)
{
	exports.Set("tcAttach", Napi::Function::New<Callback<TcAttach>>(env));
	exports.Set("tcQuery", Napi::Function::New<Callback<TcQuery>>(env));
	exports.Set("tcDetach", Napi::Function::New<Callback<TcDetach>>(env));
}

} // namespace fimbria
