/* SPDX-License-Identifier: Apache-2.0 */
/* Entry point: one registration for each environment that loads the addon. */
#include "addon.h"

#include "failure.h"
#include "libbpf_log.h"

namespace fimbria
{

static Napi::Value SetErrorFactory(const Napi::CallbackInfo &info)
{
	AddonData::Of(info.Env()).error_factory = Napi::Persistent(info[0].As<Napi::Function>());
	return info.Env().Undefined();
}

static Napi::Object Init(Napi::Env env, Napi::Object exports)
{
	InstallLibbpfLog();
	AddonData *data = new AddonData;
	env.SetInstanceData(data);
	exports.Set("setErrorFactory",
		    Napi::Function::New<Callback<SetErrorFactory>>(env, "setErrorFactory"));
	RegisterHandle(env, *data);
	RegisterObject(env, *data, exports);
	RegisterMap(env, exports);
	RegisterProgram(env, exports);
	RegisterTc(env, exports);
	RegisterTcx(env, exports);
	RegisterCgroup(env, exports);
	RegisterRingBuffer(env, *data, exports);
	RegisterWatch(env, *data, exports);
	RegisterNetlink(env, exports);
	RegisterSocket(env, exports);
	RegisterNetns(env, exports);
	RegisterNotify(env, exports);
	return exports;
}

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)

} // namespace fimbria
