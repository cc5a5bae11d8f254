import { createContext, type ReactNode, useContext, useEffect, useState } from "react";

const Announce = createContext<(message: string) => void>(() => {});

/** Says in a sentence what has been done, to eyes and to screen readers. It outlives a change of the page. */
export const useAnnounce = () => useContext(Announce);

/** How long a sentence stays, in milliseconds. */
const SHOWN_FOR = 4_000;

export function AnnouncerProvider({ children }: { children: ReactNode }) {
  const [said, setSaid] = useState({ message: "" });
  useEffect(() => {
    const timer = setTimeout(() => setSaid({ message: "" }), SHOWN_FOR);
    return () => clearTimeout(timer);
  }, [said]);

  return (
    <Announce value={(message) => setSaid({ message })}>
      {children}
      <p className="announcement" role="status">
        {said.message}
      </p>
    </Announce>
  );
}
