-- Nothing changes here. But layers of volumes may have files whose digests are of BLAKE3 from now on (ADR 31), which an
-- older Windlass would take for damaged. So it shall refuse this home, as any that a newer one has written.
SELECT 1;
