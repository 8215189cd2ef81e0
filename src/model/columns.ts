/** A column of the tables that `get` prints. */
export interface TableColumn {
  name: string;
  type: 'string' | 'integer' | 'boolean' | 'date';
  /** 0 is always shown, 1 only in the wide form. */
  priority: 0 | 1;
  /** The cell, undefined where the object has nothing to show. Never throws. */
  value(object: unknown): string | number | boolean | undefined;
}

/** Columns of a kind, without NAME and NAMESPACE, which every kind has. */
export function columns(_kind: string): readonly TableColumn[] {
  return [];
}
