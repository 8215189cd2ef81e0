/* SPDX-License-Identifier: Apache-2.0 */
/* Map operations. Every buffer's length is checked against the map's shape before the kernel sees it. */
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "addon.h"
#include "args.h"
#include "btf.h"
#include "failure.h"
#include "handle.h"
#include "object.h"

namespace fimbria
{

static constexpr int kErrnoNotSupported = 524;
/* A batch that grew beyond this for one hash bucket means a broken map. */
static constexpr uint32_t kMaxBatch = 1 << 22;
/* Room for a cursor: four bytes for hash maps, a key for the others. */
static constexpr size_t kCursorBytes = 8;

static std::string Named(const Handle &map)
{
	return "map " + map.shape().name;
}

static bool CannotBatch(int err)
{
	return err == kErrnoNotSupported || err == EOPNOTSUPP || err == EINVAL;
}

static uint32_t Member(const Napi::Object &spec, const char *name)
{
	return Uint32Of(spec.Get(name), name);
}

static Napi::Value MapCreate(const Napi::CallbackInfo &info)
{
	if (!info[0].IsObject())
		throw Failure("EINVAL", "create", "map", "its description is missing");
	Napi::Object spec = info[0].As<Napi::Object>();
	std::string name = StringOf(spec.Get("name"), "map name");
	std::string kernel_name = name.substr(0, BPF_OBJ_NAME_LEN - 1);
	LIBBPF_OPTS(bpf_map_create_opts, options);
	options.map_flags = Member(spec, "flags");
	if (!IsNothing(spec.Get("inner")))
		options.inner_map_fd = Handle::From(spec.Get("inner"), Kind::kMap, "create").fd();
	if (!IsNothing(spec.Get("btfObject"))) {
		int btf_fd = -1;
		TypeIds types = BpfObject::From(spec.Get("btfObject"))
					.Types(StringOf(spec.Get("btfMap"), "map name"), &btf_fd);
		options.btf_fd = btf_fd;
		options.btf_key_type_id = types.key;
		options.btf_value_type_id = types.value;
	}
	int fd = bpf_map_create(static_cast<enum bpf_map_type>(Member(spec, "type")),
				kernel_name.c_str(), Member(spec, "keySize"),
				Member(spec, "valueSize"), Member(spec, "maxEntries"), &options);
	return Handle::New(info.Env(), Kind::kMap, Own(fd, "create", "map " + name));
}

static Napi::Value MapFromPin(const Napi::CallbackInfo &info)
{
	return Handle::OpenPin(info, Kind::kMap);
}

static Napi::Value MapFromId(const Napi::CallbackInfo &info)
{
	uint32_t id = Uint32Of(info[0], "map id");
	return Handle::New(info.Env(), Kind::kMap,
			   Own(bpf_map_get_fd_by_id(id), "open", "map " + std::to_string(id)));
}

static Napi::Value MapInfo(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &map = Handle::From(info[0], Kind::kMap, "inspect");
	struct bpf_map_info facts = {};
	uint32_t length = sizeof(facts);
	if (bpf_obj_get_info_by_fd(map.fd(), &facts, &length))
		throw Refused(errno, "inspect", Named(map));
	Napi::Object result = Napi::Object::New(env);
	result.Set("id", facts.id);
	result.Set("type", facts.type);
	result.Set("name", map.shape().name);
	result.Set("keySize", facts.key_size);
	result.Set("valueSize", facts.value_size);
	result.Set("maxEntries", facts.max_entries);
	result.Set("flags", facts.map_flags);
	result.Set("btfId", facts.btf_id);
	result.Set("btfKeyTypeId", facts.btf_key_type_id);
	result.Set("btfValueTypeId", facts.btf_value_type_id);
	return result;
}

static Napi::Value MapTypes(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "inspect");
	struct bpf_map_info facts = {};
	uint32_t length = sizeof(facts);
	if (bpf_obj_get_info_by_fd(map.fd(), &facts, &length))
		throw Refused(errno, "inspect", Named(map));
	if (!facts.btf_id)
		return info.Env().Undefined();
	std::unique_ptr<struct btf, decltype(&btf__free)> btf(
		btf__load_from_kernel_by_id(facts.btf_id), btf__free);
	if (!btf)
		throw Refused(errno, "read types of", Named(map));
	return TypesOf(info.Env(), btf.get(), facts.btf_key_type_id, facts.btf_value_type_id);
}

static Napi::Value MapLookup(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "read");
	const void *key = ExactBytes(info[1], map.shape().key_bytes, "key", Named(map));
	std::vector<uint8_t> value(map.shape().value_bytes);
	if (!bpf_map_lookup_elem(map.fd(), key, value.data()))
		return BufferOf(info.Env(), value.data(), value.size());
	if (errno == ENOENT)
		return info.Env().Undefined();
	throw Refused(errno, "read", Named(map));
}

static Failure UpdateRefused(int err, const Handle &map)
{
	Failure failure = Refused(err, "write", Named(map));
	if (err == E2BIG || err == ENOSPC)
		failure.why = "it is full (" + ErrnoName(err) + ")";
	return failure;
}

static Napi::Value MapUpdate(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "write");
	const void *key = ExactBytes(info[1], map.shape().key_bytes, "key", Named(map));
	const void *value = ExactBytes(info[2], map.shape().value_bytes, "value", Named(map));
	if (bpf_map_update_elem(map.fd(), key, value, Uint32Of(info[3], "flags")))
		throw UpdateRefused(errno, map);
	return info.Env().Undefined();
}

static Napi::Value MapDelete(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "delete from");
	const void *key = ExactBytes(info[1], map.shape().key_bytes, "key", Named(map));
	bool there = !bpf_map_delete_elem(map.fd(), key);
	if (!there && errno != ENOENT)
		throw Refused(errno, "delete from", Named(map));
	return Napi::Boolean::New(info.Env(), there);
}

static Napi::Value MapNextKey(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "walk");
	const void *key = IsNothing(info[1])
				  ? nullptr
				  : ExactBytes(info[1], map.shape().key_bytes, "key", Named(map));
	std::vector<uint8_t> next(map.shape().key_bytes);
	if (!bpf_map_get_next_key(map.fd(), key, next.data()))
		return BufferOf(info.Env(), next.data(), next.size());
	if (errno == ENOENT)
		return info.Env().Undefined();
	throw Refused(errno, "walk", Named(map));
}

static Napi::Value MapLookupBatch(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Handle &map = Handle::From(info[0], Kind::kMap, "walk");
	const MapShape &shape = map.shape();
	size_t cursor_bytes = std::max<size_t>(kCursorBytes, shape.key_bytes);
	const void *cursor = IsNothing(info[1])
				     ? nullptr
				     : ExactBytes(info[1], cursor_bytes, "cursor", Named(map));
	std::vector<uint8_t> in(cursor_bytes), out(cursor_bytes), keys, values;
	if (cursor)
		memcpy(in.data(), cursor, cursor_bytes);
	uint32_t room = std::max<uint32_t>(1, Uint32Of(info[2], "count"));
	uint32_t count;
	int err;
	/* ENOSPC: one bucket of the hash holds more than fits. */
	for (;; room *= 2) {
		if (room > kMaxBatch)
			throw Refused(ENOSPC, "walk", Named(map));
		keys.resize(size_t(room) * shape.key_bytes);
		values.resize(size_t(room) * shape.value_bytes);
		count = room;
		err = bpf_map_lookup_batch(map.fd(), cursor ? in.data() : nullptr, out.data(),
					   keys.data(), values.data(), &count, nullptr)
			      ? errno
			      : 0;
		if (err != ENOSPC || count)
			break;
	}
	if (err && err != ENOENT && err != ENOSPC) {
		if (!cursor && CannotBatch(err))
			return env.Undefined();
		throw Refused(err, "walk", Named(map));
	}
	Napi::Object result = Napi::Object::New(env);
	result.Set("keys", BufferOf(env, keys.data(), size_t(count) * shape.key_bytes));
	result.Set("values", BufferOf(env, values.data(), size_t(count) * shape.value_bytes));
	result.Set("count", count);
	if (err != ENOENT)
		result.Set("next", BufferOf(env, out.data(), out.size()));
	return result;
}

static Napi::Value MapUpdateBatch(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "write");
	const MapShape &shape = map.shape();
	uint32_t total = Uint32Of(info[3], "count");
	auto *keys = static_cast<const uint8_t *>(
		ExactBytes(info[1], size_t(total) * shape.key_bytes, "key batch", Named(map)));
	auto *values = static_cast<const uint8_t *>(
		ExactBytes(info[2], size_t(total) * shape.value_bytes, "value batch", Named(map)));
	uint32_t count = total;
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	if (!bpf_map_update_batch(map.fd(), keys, values, &count, &options))
		return info.Env().Undefined();
	if (!CannotBatch(errno))
		throw UpdateRefused(errno, map);
	/* Entry by entry: from the start, since writing one twice is harmless. */
	for (uint32_t i = 0; i < total; i++)
		if (bpf_map_update_elem(map.fd(), keys + size_t(i) * shape.key_bytes,
					values + size_t(i) * shape.value_bytes, BPF_ANY))
			throw UpdateRefused(errno, map);
	return info.Env().Undefined();
}

static Napi::Value MapDeleteBatch(const Napi::CallbackInfo &info)
{
	Handle &map = Handle::From(info[0], Kind::kMap, "delete from");
	const MapShape &shape = map.shape();
	uint32_t total = Uint32Of(info[2], "count");
	auto *keys = static_cast<const uint8_t *>(
		ExactBytes(info[1], size_t(total) * shape.key_bytes, "key batch", Named(map)));
	uint32_t removed = 0;
	bool batched = true;
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	for (uint32_t at = 0; at < total;) {
		const uint8_t *key = keys + size_t(at) * shape.key_bytes;
		if (!batched) {
			if (!bpf_map_delete_elem(map.fd(), key))
				removed++;
			else if (errno != ENOENT)
				throw Refused(errno, "delete from", Named(map));
			at++;
			continue;
		}
		uint32_t count = total - at;
		int err = bpf_map_delete_batch(map.fd(), key, &count, &options) ? errno : 0;
		if (err && err != ENOENT) {
			if (!CannotBatch(err))
				throw Refused(err, "delete from", Named(map));
			batched = false;
			continue;
		}
		removed += count;
		/* The kernel stops at a key that is not there: pass over it. */
		at += count + (err == ENOENT ? 1 : 0);
	}
	return Napi::Number::New(info.Env(), removed);
}

static Napi::Value PossibleCpus(const Napi::CallbackInfo &info)
{
	int cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		throw Refused(-cpus, "count", "possible CPUs");
	return Napi::Number::New(info.Env(), cpus);
}

void RegisterMap(Napi::Env env, Napi::Object exports)
{
	exports.Set("mapCreate", Napi::Function::New<Callback<MapCreate>>(env));
	exports.Set("mapFromPin", Napi::Function::New<Callback<MapFromPin>>(env));
	exports.Set("mapFromId", Napi::Function::New<Callback<MapFromId>>(env));
	exports.Set("mapInfo", Napi::Function::New<Callback<MapInfo>>(env));
	exports.Set("mapTypes", Napi::Function::New<Callback<MapTypes>>(env));
	exports.Set("mapLookup", Napi::Function::New<Callback<MapLookup>>(env));
	exports.Set("mapUpdate", Napi::Function::New<Callback<MapUpdate>>(env));
	exports.Set("mapDelete", Napi::Function::New<Callback<MapDelete>>(env));
	exports.Set("mapNextKey", Napi::Function::New<Callback<MapNextKey>>(env));
	exports.Set("mapLookupBatch", Napi::Function::New<Callback<MapLookupBatch>>(env));
	exports.Set("mapUpdateBatch", Napi::Function::New<Callback<MapUpdateBatch>>(env));
	exports.Set("mapDeleteBatch", Napi::Function::New<Callback<MapDeleteBatch>>(env));
	exports.Set("possibleCpus", Napi::Function::New<Callback<PossibleCpus>>(env));
}

} // namespace fimbria
