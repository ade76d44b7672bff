-- What is remembered of images: their last use, their names, and how each of them was built.

ALTER TABLE image ADD COLUMN used_at REAL;  -- last container start or build on it, to about a minute; NULL: never
CREATE INDEX image_parent ON image (parent);
CREATE INDEX image_current_id ON image_current (id);

-- One row a build, also of one that failed and so left no image. A new try at the same image replaces it.
CREATE TABLE image_build (
    image TEXT PRIMARY KEY,               -- the id that the image has, or would have had
    parent TEXT,
    command TEXT NOT NULL,                -- the step as people read it
    started_at REAL NOT NULL,
    ended_at REAL,                        -- NULL while it runs
    error TEXT,                           -- why it failed
    left_out INTEGER NOT NULL DEFAULT 0   -- bytes of output between head and tail that are not kept
);
CREATE INDEX image_build_ended ON image_build (ended_at);

-- Its output, in order.
CREATE TABLE image_log (
    n INTEGER PRIMARY KEY,
    image TEXT NOT NULL,
    time REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX image_log_image ON image_log (image, n);

-- Mutable pointers.
CREATE TABLE image_name (
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    image TEXT NOT NULL,
    published_at REAL NOT NULL,
    PRIMARY KEY (environment, name, tag)
) WITHOUT ROWID;
CREATE INDEX image_name_image ON image_name (image);
