import { specimens } from "../api/specimens.ts";
import { ResourcePages } from "../components/resource-pages.tsx";

/** The specimens of the user: the list, and the form for one. */
export default function Specimens() {
  return <ResourcePages resource={specimens} />;
}
