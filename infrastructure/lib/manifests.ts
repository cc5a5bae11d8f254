import { existsSync, readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";

const services = new URL("../../services/", import.meta.url);

/** A function, as its service's manifest declares it. */
export interface ServiceFunction {
  /** Such as `notes-get`, without the stage. */
  name: string;
  /** Its routes, such as `GET notes/{id}`. */
  routes: string[];
  /** The group of its routes, whose requests have objectives together. Undefined if it has no route. */
  group?: string;
  /** Whether it reads a stream. */
  readsStream: boolean;
  /** Whether Lambda sends its failed events to a queue. */
  hasFailureQueue: boolean;
}

/** A service: a folder with a manifest. */
export interface Service {
  name: string;
  functions: ServiceFunction[];
  /** The names of its queues, without `scratchpad-STAGE-`. */
  queues: string[];
}

/** The parts of a manifest that are read here. */
interface Manifest {
  functions: Record<string, FunctionSettings>;
  resources: { Resources?: Record<string, { Type: string; Properties: { QueueName?: string } }> }[];
}

interface FunctionSettings extends Failures {
  events: { http?: { method: string; path: string }; stream?: Failures }[];
  environment?: Record<string, unknown>;
}

interface Failures {
  destinations?: { onFailure?: unknown };
}

/** Reads the manifests of all services that have functions. The others are not deployed. */
export function readServices(): Service[] {
  const names = readdirSync(services).filter((name) => existsSync(new URL(`${name}/serverless.yml`, services)));
  const all = names.map((name) => {
    const manifest: Manifest = parse(readFileSync(new URL(`${name}/serverless.yml`, services), "utf8"));
    const resources = manifest.resources.flatMap((part) => Object.values(part.Resources ?? {}));
    return {
      name,
      functions: Object.entries(manifest.functions).map(([own, settings]) => serviceFunction(name, own, settings)),
      queues: resources.flatMap(({ Properties }) => Properties.QueueName?.replace(/^scratchpad-[^}]*}-/, "") ?? []),
    };
  });
  return all.filter(({ functions }) => functions.length > 0);
}

function serviceFunction(
  service: string,
  name: string,
  { events, environment, destinations }: FunctionSettings,
): ServiceFunction {
  const routes = events.flatMap(({ http }) => (http ? `${http.method.toUpperCase()} ${http.path}` : []));
  const streams = events.flatMap(({ stream }) => stream ?? []);
  // serverless.yml sets ROUTE_GROUP to the prefix of the service, and some functions set another group.
  const { ROUTE_GROUP: group = service.replace(/-[^-]*$/, "") } = environment ?? {};
  return {
    name,
    routes,
    ...(routes.length > 0 && { group: String(group) }),
    readsStream: streams.length > 0,
    hasFailureQueue: [{ destinations }, ...streams].some((one) => one.destinations?.onFailure !== undefined),
  };
}
