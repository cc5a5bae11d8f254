/** Returns `path` if it is a path of this app, so that a link to this app cannot lead to another site. */
export function localPath(path: string | null): string | undefined {
  return path !== null && /^\/(?![/\\])/.test(path) ? path : undefined;
}
