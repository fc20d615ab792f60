// Tabs as links: the chosen one is in the address.

import { Link, useLocation } from "wouter";
import type { ReactNode } from "react";
import { link } from "./url";

export function Tabs({ name = "tab", chosen, tabs, label }: { name?: string; chosen: string; tabs: { id: string; label: ReactNode }[]; label: string }) {
  const [path] = useLocation();
  return (
    <nav className="tabs" aria-label={label}>
      {tabs.map((tab, index) => (
        <Link key={tab.id} href={link(path, { [name]: index === 0 ? "" : tab.id })} aria-current={tab.id === chosen ? "page" : undefined}>
          {tab.label}
        </Link>
      ))}
    </nav>
  );
}
