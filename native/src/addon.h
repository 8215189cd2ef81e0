/* SPDX-License-Identifier: Apache-2.0 */
/* What the addon keeps for each environment (main thread, worker). Nothing is static: workers load it too. */
#pragma once

#include <napi.h>

namespace fimbria
{

struct AddonData {
	Napi::FunctionReference error_factory;
	Napi::FunctionReference handle_class;
	Napi::FunctionReference object_class;
	Napi::FunctionReference ring_buffer_class;
	Napi::FunctionReference watch_class;
	/* What the constructor that runs next is to wrap; null while JavaScript itself says `new`. */
	void *pending = nullptr;

	static AddonData &Of(Napi::Env env)
	{
		return *env.GetInstanceData<AddonData>();
	}
};

/* Each adds its classes and functions to the exports. */
void RegisterHandle(Napi::Env env, AddonData &data);
void RegisterObject(Napi::Env env, AddonData &data, Napi::Object exports);
void RegisterMap(Napi::Env env, Napi::Object exports);
void RegisterProgram(Napi::Env env, Napi::Object exports);
void RegisterTc(Napi::Env env, Napi::Object exports);
void RegisterTcx(Napi::Env env, Napi::Object exports);
void RegisterCgroup(Napi::Env env, Napi::Object exports);
void RegisterRingBuffer(Napi::Env env, AddonData &data, Napi::Object exports);
void RegisterWatch(Napi::Env env, AddonData &data, Napi::Object exports);
void RegisterNetlink(Napi::Env env, Napi::Object exports);
void RegisterSocket(Napi::Env env, Napi::Object exports);
void RegisterNetns(Napi::Env env, Napi::Object exports);
void RegisterNotify(Napi::Env env, Napi::Object exports);

} // namespace fimbria
