/** `EPOCH-POSITION` as text that sorts as the log does: both may pass 2⁵³. */
const sortable = (id: string | null) =>
  /^\d+-\d+$/.test(id ?? '') && id!.split('-').map((part) => part.padStart(20, '0')).join('');

/**
 * Whether one id comes behind another in the log.
 *
 * Along one history neither epoch nor position ever falls. Of ids that another service made only this
 * is known: a different one is a new one.
 */
export function isBehind(id: string, other: string | null): boolean {
  const one = sortable(id);
  const two = sortable(other);
  return one && two ? one > two : id !== other;
}
