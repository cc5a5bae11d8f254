/**
 * The name that CloudFormation gives to a resource without an explicit name: the name of the stack, the logical ID and 12
 * random characters, joined by hyphens. If that is longer than `limit`, the name of the stack and the logical ID each get
 * half of the space, and the longer one also gets what the shorter one leaves.
 */
export function generatedName(stack: string, id: string, limit: number): string {
  const random = "1A2B3C4D5E6F";
  const space = limit - random.length - 2;
  const half = Math.floor(space / 2);
  const stackLength = Math.max(half, space - id.length);
  const idLength = Math.max(half, space - stack.length);
  return [stack.slice(0, stackLength), id.slice(0, idLength), random].join("-");
}
