/* SPDX-License-Identifier: Apache-2.0 */
#include "failure.h"

#include <cerrno>
#include <cstring>

#include "addon.h"

namespace fimbria
{

/* Not in user space's errno.h, but the kernel lets it out of bpf(2). */
static constexpr int kErrnoNotSupported = 524;

std::string ErrnoName(int err)
{
	if (err == kErrnoNotSupported)
		return "ENOTSUPP";
	const char *name = strerrorname_np(err);
	return name ? name : "E" + std::to_string(err);
}

Failure Refused(int err, std::string op, std::string object)
{
	const char *words = strerrordesc_np(err);
	std::string name = ErrnoName(err);
	Failure failure(name, std::move(op), std::move(object),
			words ? std::string(words) + " (" + name + ")" : name);
	failure.err = err;
	if (err == EPERM)
		failure.hint = "root is needed, or CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN";
	return failure;
}

Napi::Error ToJs(Napi::Env env, const Failure &failure)
{
	Napi::Object detail = Napi::Object::New(env);
	auto set = [&](const char *name, const std::string &value) {
		if (!value.empty())
			detail.Set(name, Napi::String::New(env, value));
	};
	set("code", failure.code);
	set("op", failure.op);
	set("object", failure.object);
	set("why", failure.why);
	set("hint", failure.hint);
	set("log", failure.log);
	if (failure.err)
		detail.Set("errno", Napi::Number::New(env, failure.err));

	AddonData &data = AddonData::Of(env);
	if (!data.error_factory.IsEmpty()) {
		Napi::Value made = data.error_factory.Call({ detail });
		if (made.IsObject())
			return Napi::Error(env, made);
	}
	Napi::Error error =
		Napi::Error::New(env, failure.op + " " + failure.object + ": " + failure.why);
	error.Set("code", Napi::String::New(env, failure.code));
	return error;
}

} // namespace fimbria
