/**
 * Gives backends their places among a frontend's slots so that few of them change: who stays keeps its place, who is
 * new gets that of one who left, and holes at the end are closed from the end. Pure.
 * @param before backend ids by place
 * @param wanted distinct backend ids
 */
export function placeBackends(before: readonly number[], wanted: readonly number[]): number[] {
  const staying = new Set(wanted);
  const placed = new Set<number>();
  const places = before.map(id => {
    if (!staying.has(id) || placed.has(id)) return 0;
    placed.add(id);
    return id;
  });
  const fresh = wanted.filter(id => !placed.has(id));
  for (let i = 0, next = 0; i < places.length && next < fresh.length; i++)
    if (places[i] === 0) places[i] = fresh[next++]!;
  const used = new Set(places);
  for (const id of fresh) if (!used.has(id)) places.push(id);
  for (let i = 0; i < places.length; i++) {
    while (places.length > i && places.at(-1) === 0) places.pop();
    if (i < places.length && places[i] === 0) places[i] = places.pop()!;
  }
  return places;
}
