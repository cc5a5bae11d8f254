import { createContext, type ReactNode, useContext, useEffect, useState } from "react";

const Announce = createContext<(message: string) => void>(() => {});

/** Returns a function that shows a short message, also to screen readers. The message survives navigation. */
export const useAnnounce = () => useContext(Announce);

/** How long a message is shown, in milliseconds. */
const DISPLAY_TIME = 4_000;

export function AnnouncerProvider({ children }: { children: ReactNode }) {
  const [announcement, setAnnouncement] = useState({ message: "" });
  // biome-ignore lint/correctness/useExhaustiveDependencies: every announcement restarts the timer
  useEffect(() => {
    const timer = setTimeout(() => setAnnouncement({ message: "" }), DISPLAY_TIME);
    return () => clearTimeout(timer);
  }, [announcement]);

  return (
    <Announce value={(message) => setAnnouncement({ message })}>
      {children}
      <p className="announcement" role="status">
        {announcement.message}
      </p>
    </Announce>
  );
}
