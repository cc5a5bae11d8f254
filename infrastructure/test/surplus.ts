/** Actions that roles may use although no call is known that needs them. */
export interface Surplus {
  /** Only these roles. */
  roles?: string[];
  /** Patterns of actions, separated by spaces. */
  actions: string;
  reason: string;
}

export const surplus: Surplus[] = [];
