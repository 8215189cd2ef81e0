/* SPDX-License-Identifier: Apache-2.0 */
/* BPF ELF files through libbpf. */
#include "object.h"

#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "addon.h"
#include "args.h"
#include "btf.h"
#include "failure.h"
#include "libbpf_log.h"
#include "task.h"

namespace fimbria
{

static constexpr napi_type_tag kObjectTag = { 0x1c3d8b0e0f2a4c55ULL, 0xa6e0d9f3b7714e02ULL };
/* Virtual until the verifier writes to it, which it does only when it refuses a program. */
static constexpr size_t kLogBytes = 16 << 20;

ObjectState::~ObjectState()
{
	if (object)
		bpf_object__close(object);
}

std::optional<Failure> ObjectState::Load()
{
	LibbpfLog log;
	log_buffer[0] = '\0';
	int err = bpf_object__load(object);
	if (!err)
		return std::nullopt;
	std::string reason = log.reason();
	std::string name = ErrnoName(-err);
	Failure failure("BPF_LOAD", "load", path,
			reason.empty() ? name : reason + " (" + name + ")");
	failure.err = -err;
	failure.log = log_buffer[0] ? log_buffer.get() : log.text();
	if (err == -EPERM)
		failure.hint = "root is needed, or CAP_BPF and CAP_NET_ADMIN";
	return failure;
}

void ObjectState::Finish(const std::optional<Failure> &refusal)
{
	stage = refusal ? Stage::kFailed : Stage::kLoaded;
	if (refusal)
		throw *refusal;
}

/* Key and value types of every map, read before loading: libbpf frees inner templates when it loads. */
static void ReadTypes(ObjectState &state)
{
	struct bpf_map *map;
	bpf_object__for_each_map (map, state.object) {
		struct bpf_map *inner = bpf_map__inner_map(map);
		struct bpf_map *typed = inner ? inner : map;
		state.types[bpf_map__name(map)] = { bpf_map__btf_key_type_id(typed),
						    bpf_map__btf_value_type_id(typed) };
	}
}

BpfObject::BpfObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<BpfObject>(info)
{
	Guarded(info.Env(), [&] {
		AddonData &data = AddonData::Of(info.Env());
		auto *pending = static_cast<std::shared_ptr<ObjectState> *>(data.pending);
		data.pending = nullptr;
		if (!pending)
			throw Failure("EPERM", "construct", "BPF object", "use objectOpen");
		state_ = *pending;
		info.This().As<Napi::Object>().TypeTag(&kObjectTag);
	});
}

Napi::Value BpfObject::Open(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	auto state = std::make_shared<ObjectState>();
	state->path = StringOf(info[0], "path");
	std::string pin_root = IsNothing(info[1]) ? "" : StringOf(info[1], "pin root");
	state->log_buffer.reset(new char[kLogBytes]);
	state->log_buffer[0] = '\0';
	LIBBPF_OPTS(bpf_object_open_opts, options);
	options.kernel_log_buf = state->log_buffer.get();
	options.kernel_log_size = kLogBytes;
	if (!pin_root.empty())
		options.pin_root_path = pin_root.c_str();

	LibbpfLog log;
	state->object = bpf_object__open_file(state->path.c_str(), &options);
	if (!state->object) {
		int err = errno;
		if (err == ENOENT || err == EACCES)
			throw Refused(err, "open", state->path);
		std::string reason = log.reason();
		Failure failure("BPF_OPEN", "open", state->path,
				reason.empty() ? ErrnoName(err) : reason);
		failure.err = err;
		throw failure;
	}
	ReadTypes(*state);
	AddonData &data = AddonData::Of(env);
	data.pending = &state;
	return data.object_class.New({});
}

BpfObject &BpfObject::From(const Napi::Value &value)
{
	if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kObjectTag))
		throw Failure("EINVAL", "use", "BPF object", "the argument is none of this addon");
	return *BpfObject::Unwrap(value.As<Napi::Object>());
}

ObjectState &BpfObject::At(Stage stage, const char *op)
{
	if (!state_)
		throw Failure("EBADF", op, "BPF object", "it was closed");
	if (state_->stage == stage)
		return *state_;
	switch (state_->stage) {
	case Stage::kOpen:
		throw Failure("EBADF", op, state_->path, "it is not loaded yet");
	case Stage::kLoading:
		throw Failure("EBUSY", op, state_->path, "it is being loaded");
	case Stage::kLoaded:
		throw Failure("EBUSY", op, state_->path, "it is loaded already");
	case Stage::kFailed:
		break;
	}
	throw Failure("EBADF", op, state_->path, "loading it failed; open it again");
}

TypeIds BpfObject::Types(const std::string &map, int *btf_fd)
{
	ObjectState &state = At(Stage::kLoaded, "read types of");
	auto found = state.types.find(map);
	if (found == state.types.end())
		throw Failure("ENOENT", "find", "map " + map, "there is none in " + state.path);
	*btf_fd = bpf_object__btf_fd(state.object);
	if (*btf_fd < 0 || !found->second.value)
		throw Failure("ENOENT", "find", "types of map " + map,
			      state.path + " has no BTF for it");
	return found->second;
}

static struct bpf_map *FindMap(ObjectState &state, const std::string &name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(state.object, name.c_str());
	if (!map)
		throw Failure("ENOENT", "find", "map " + name, "there is none in " + state.path);
	return map;
}

static struct bpf_program *FindProgram(ObjectState &state, const std::string &name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(state.object, name.c_str());
	if (!program)
		throw Failure("ENOENT", "find", "program " + name,
			      "there is none in " + state.path);
	return program;
}

static void Check(int err, const char *op, const std::string &object)
{
	if (err)
		throw Refused(err < 0 ? -err : err, op, object);
}

Napi::Value BpfObject::Maps(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	ObjectState &state = At(Stage::kOpen, "list maps of");
	Napi::Array result = Napi::Array::New(env);
	struct bpf_map *map;
	bpf_object__for_each_map (map, state.object) {
		if (bpf_map__is_internal(map))
			continue;
		Napi::Object spec = Napi::Object::New(env);
		spec.Set("name", bpf_map__name(map));
		spec.Set("type", static_cast<uint32_t>(bpf_map__type(map)));
		spec.Set("keySize", bpf_map__key_size(map));
		spec.Set("valueSize", bpf_map__value_size(map));
		spec.Set("maxEntries", bpf_map__max_entries(map));
		spec.Set("flags", bpf_map__map_flags(map));
		spec.Set("pinned", Napi::Boolean::New(env, bpf_map__pin_path(map) != nullptr));
		result.Set(result.Length(), spec);
	}
	return result;
}

Napi::Value BpfObject::MapTypes(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "read types of");
	std::string name = StringOf(info[0], "map name");
	auto found = state.types.find(name);
	if (found == state.types.end())
		throw Failure("ENOENT", "find", "map " + name, "there is none in " + state.path);
	struct btf *btf = bpf_object__btf(state.object);
	if (!btf)
		return info.Env().Undefined();
	return TypesOf(info.Env(), btf, found->second.key, found->second.value);
}

Napi::Value BpfObject::Programs(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	ObjectState &state = At(Stage::kOpen, "list programs of");
	Napi::Array result = Napi::Array::New(env);
	struct bpf_program *program;
	bpf_object__for_each_program (program, state.object) {
		Napi::Object spec = Napi::Object::New(env);
		spec.Set("name", bpf_program__name(program));
		spec.Set("section", bpf_program__section_name(program));
		result.Set(result.Length(), spec);
	}
	return result;
}

Napi::Value BpfObject::SetMaxEntries(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "configure");
	std::string name = StringOf(info[0], "map name");
	Check(bpf_map__set_max_entries(FindMap(state, name), Uint32Of(info[1], "max entries")),
	      "resize", "map " + name);
	return info.Env().Undefined();
}

Napi::Value BpfObject::SetPinPath(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "configure");
	std::string name = StringOf(info[0], "map name");
	struct bpf_map *map = FindMap(state, name);
	if (IsNothing(info[1]))
		Check(bpf_map__set_pin_path(map, nullptr), "unpin", "map " + name);
	else
		Check(bpf_map__set_pin_path(map, StringOf(info[1], "pin path").c_str()),
		      "set pin path of", "map " + name);
	return info.Env().Undefined();
}

Napi::Value BpfObject::ReuseMap(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "configure");
	std::string name = StringOf(info[0], "map name");
	Handle &live = Handle::From(info[1], Kind::kMap, "reuse");
	Check(bpf_map__reuse_fd(FindMap(state, name), live.fd()), "reuse", "map " + name);
	return info.Env().Undefined();
}

Napi::Value BpfObject::SetInnerMap(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "configure");
	std::string name = StringOf(info[0], "map name");
	Handle &inner = Handle::From(info[1], Kind::kMap, "use");
	/* libbpf only remembers the number: the descriptor has to stay open until the load. */
	SharedFd held = Duplicate(inner.fd(), "duplicate", "map " + inner.shape().name);
	Check(bpf_map__set_inner_map_fd(FindMap(state, name), held->get()), "set inner map of",
	      "map " + name);
	state.held.push_back(held);
	return info.Env().Undefined();
}

Napi::Value BpfObject::SetAutoload(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "configure");
	std::string name = StringOf(info[0], "program name");
	Check(bpf_program__set_autoload(FindProgram(state, name), info[1].ToBoolean()), "configure",
	      "program " + name);
	return info.Env().Undefined();
}

Napi::Value BpfObject::Load(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kOpen, "load");
	state.Finish(state.Load());
	return info.Env().Undefined();
}

Napi::Value BpfObject::LoadAsync(const Napi::CallbackInfo &info)
{
	At(Stage::kOpen, "load").stage = Stage::kLoading;
	std::shared_ptr<ObjectState> state = state_;
	/* The stage changes on JavaScript's thread only. */
	return Task<std::optional<Failure>>::Start(
		info.Env(), [state] { return state->Load(); },
		[state](Napi::Env env, std::optional<Failure> &refusal) {
			state->Finish(refusal);
			return env.Undefined();
		});
}

Napi::Value BpfObject::Map(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kLoaded, "take a map of");
	std::string name = StringOf(info[0], "map name");
	int fd = bpf_map__fd(FindMap(state, name));
	if (fd < 0)
		throw Failure("ENOENT", "find", "map " + name, "it was not created");
	return Handle::New(info.Env(), Kind::kMap, Duplicate(fd, "duplicate", "map " + name));
}

Napi::Value BpfObject::Program(const Napi::CallbackInfo &info)
{
	ObjectState &state = At(Stage::kLoaded, "take a program of");
	std::string name = StringOf(info[0], "program name");
	int fd = bpf_program__fd(FindProgram(state, name));
	if (fd < 0)
		throw Failure("ENOENT", "find", "program " + name,
			      "it was not loaded: autoload is off");
	return Handle::New(info.Env(), Kind::kProgram,
			   Duplicate(fd, "duplicate", "program " + name));
}

Napi::Value BpfObject::Close(const Napi::CallbackInfo &info)
{
	if (state_ && state_->stage == Stage::kLoading)
		throw Failure("EBUSY", "close", state_->path, "it is being loaded");
	state_.reset();
	return info.Env().Undefined();
}

/* A BpfObject method as a guarded callback. */
template <Napi::Value (BpfObject::*Method)(const Napi::CallbackInfo &)>
Napi::Value BpfObject::Call(const Napi::CallbackInfo &info)
{
	return Guarded(info.Env(), [&] { return (this->*Method)(info); });
}

Napi::Function BpfObject::Define(Napi::Env env)
{
	return DefineClass(
		env, "BpfObject",
		{ InstanceMethod<&BpfObject::Call<&BpfObject::Maps>>("maps"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::MapTypes>>("mapTypes"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::Programs>>("programs"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::SetRodata>>("setRodata"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::SetMaxEntries>>("setMaxEntries"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::SetPinPath>>("setPinPath"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::ReuseMap>>("reuseMap"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::SetInnerMap>>("setInnerMap"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::SetAutoload>>("setAutoload"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::Load>>("load"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::LoadAsync>>("loadAsync"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::Map>>("map"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::Program>>("program"),
		  InstanceMethod<&BpfObject::Call<&BpfObject::Close>>("close") });
}

void RegisterObject(Napi::Env env, AddonData &data, Napi::Object exports)
{
	data.object_class = Napi::Persistent(BpfObject::Define(env));
	exports.Set("objectOpen",
		    Napi::Function::New<Callback<BpfObject::Open>>(env, "objectOpen"));
}

} // namespace fimbria
