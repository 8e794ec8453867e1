-- A cache of version 2, as pg_dump --inserts wrote it.
CREATE SCHEMA cacheness;
CREATE SEQUENCE cacheness.added
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE cacheness.blob_chunks (
    name text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY cacheness.blob_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE cacheness.blobs (
    name text NOT NULL COLLATE pg_catalog."C",
    size bigint NOT NULL,
    changed_at double precision NOT NULL
);
CREATE TABLE cacheness.entries (
    namespace text NOT NULL COLLATE pg_catalog."C",
    cache_key text NOT NULL COLLATE pg_catalog."C",
    generation bigint NOT NULL,
    prefix text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    description text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    params jsonb NOT NULL,
    handler text NOT NULL COLLATE pg_catalog."C",
    handler_version bigint DEFAULT 1 NOT NULL,
    metadata text COLLATE pg_catalog."C",
    object_type text NOT NULL COLLATE pg_catalog."C",
    summary text NOT NULL COLLATE pg_catalog."C",
    compressor text DEFAULT 'none'::text NOT NULL COLLATE pg_catalog."C",
    stored_bytes bigint NOT NULL,
    logical_bytes bigint NOT NULL,
    checksum text NOT NULL COLLATE pg_catalog."C",
    signature text COLLATE pg_catalog."C",
    inline bytea,
    blob text COLLATE pg_catalog."C",
    blob_store text COLLATE pg_catalog."C",
    created_at double precision NOT NULL,
    renewed_at double precision NOT NULL,
    accessed_at double precision NOT NULL,
    ttl_seconds double precision,
    expires_at double precision,
    stale_until double precision,
    pinned boolean DEFAULT false NOT NULL,
    hits bigint DEFAULT 0 NOT NULL,
    cost_seconds double precision,
    function text COLLATE pg_catalog."C",
    code_digest text COLLATE pg_catalog."C",
    key_parts text COLLATE pg_catalog."C",
    tags jsonb DEFAULT '[]'::jsonb NOT NULL,
    custom_metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    distribution text NOT NULL COLLATE pg_catalog."C",
    exact bytea
);
ALTER TABLE ONLY cacheness.entries ALTER COLUMN inline SET STORAGE EXTERNAL;
CREATE UNLOGGED TABLE cacheness.incoming (
    batch bigint NOT NULL,
    namespace text COLLATE pg_catalog."C",
    cache_key text COLLATE pg_catalog."C",
    generation bigint,
    prefix text COLLATE pg_catalog."C",
    description text COLLATE pg_catalog."C",
    params text,
    handler text COLLATE pg_catalog."C",
    handler_version bigint,
    metadata text COLLATE pg_catalog."C",
    object_type text COLLATE pg_catalog."C",
    summary text COLLATE pg_catalog."C",
    compressor text COLLATE pg_catalog."C",
    stored_bytes bigint,
    logical_bytes bigint,
    checksum text COLLATE pg_catalog."C",
    signature text COLLATE pg_catalog."C",
    inline bytea,
    blob text COLLATE pg_catalog."C",
    blob_store text COLLATE pg_catalog."C",
    created_at double precision,
    renewed_at double precision,
    accessed_at double precision,
    ttl_seconds double precision,
    expires_at double precision,
    stale_until double precision,
    pinned boolean,
    hits bigint,
    cost_seconds double precision,
    function text COLLATE pg_catalog."C",
    code_digest text COLLATE pg_catalog."C",
    key_parts text COLLATE pg_catalog."C",
    tags text,
    custom_metadata text,
    distribution text COLLATE pg_catalog."C",
    exact bytea
);
ALTER TABLE ONLY cacheness.incoming ALTER COLUMN inline SET STORAGE EXTERNAL;
CREATE TABLE cacheness.notes (
    namespace text NOT NULL COLLATE pg_catalog."C",
    kind bytea NOT NULL,
    name bytea NOT NULL,
    value bytea NOT NULL
);
CREATE TABLE cacheness.settings (
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);
INSERT INTO cacheness.entries VALUES ('', 'kept', 7, 'p', '', '{"lr": 0.1, "name": "a"}', 'json', 1, '{"shape":[2]}', '', '', 'none', 3, 3, 'xxh3-128:00', NULL, '\x5b315d', NULL, NULL, 1700000000.25, 1700000000.25, 1700000000.25, NULL, NULL, NULL, false, 0, NULL, NULL, NULL, NULL, '["t"]', '{"run": {"id": 3}}', '', NULL);
INSERT INTO cacheness.entries VALUES ('', 'odd', 8, '�?', '', '{}', 'json', 1, NULL, '', '', 'none', 3, 3, 'xxh3-128:00', NULL, '\x5b315d', NULL, NULL, 1700000000.25, 1700000000.25, 1700000000.25, NULL, NULL, NULL, false, 0, NULL, NULL, NULL, NULL, '[]', '{}', '', '\x7b22707265666978223a225c7530303030eda080222c226465736372697074696f6e223a22222c2268616e646c6572223a226a736f6e222c226f626a6563745f74797065223a22222c2273756d6d617279223a22222c22636f6d70726573736f72223a226e6f6e65222c22636865636b73756d223a22787868332d3132383a3030222c227369676e6174757265223a6e756c6c2c22626c6f62223a6e756c6c2c22626c6f625f73746f7265223a6e756c6c2c2266756e6374696f6e223a6e756c6c2c22636f64655f646967657374223a6e756c6c2c22646973747269627574696f6e223a22222c22706172616d73223a7b7d2c2274616773223a5b5d2c22637573746f6d5f6d65746164617461223a7b7d2c226d65746164617461223a7b7d2c226b65795f7061727473223a7b7d7d');
INSERT INTO cacheness.notes VALUES ('', '\x227374617469737469637322', '\x226869747322', '\x33');
INSERT INTO cacheness.settings VALUES ('store_id', '00000000000000000000000000000000');
INSERT INTO cacheness.settings VALUES ('version', '2');
SELECT pg_catalog.setval('cacheness.added', 2, true);
ALTER TABLE ONLY cacheness.blob_chunks
    ADD CONSTRAINT blob_chunks_pkey PRIMARY KEY (name, "position");
ALTER TABLE ONLY cacheness.blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (name);
ALTER TABLE ONLY cacheness.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (namespace, cache_key);
ALTER TABLE ONLY cacheness.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (namespace, kind, name);
ALTER TABLE ONLY cacheness.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (name);
CREATE INDEX entries_by_custom_metadata ON cacheness.entries USING gin (custom_metadata jsonb_path_ops) WHERE (custom_metadata <> '{}'::jsonb);
CREATE INDEX entries_by_expiry ON cacheness.entries USING btree (namespace, expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX entries_by_function ON cacheness.entries USING btree (namespace, "left"(function, 200)) WHERE (function IS NOT NULL);
CREATE INDEX entries_by_params ON cacheness.entries USING gin (params jsonb_path_ops) WHERE (params <> '{}'::jsonb);
CREATE INDEX entries_by_prefix ON cacheness.entries USING btree (namespace, "left"(prefix, 200)) WHERE ("left"(prefix, 200) <> ''::text);
CREATE INDEX entries_by_tags ON cacheness.entries USING gin (tags jsonb_path_ops) WHERE (tags <> '[]'::jsonb);
CREATE INDEX entries_inexact ON cacheness.entries USING btree (namespace, cache_key) WHERE (exact IS NOT NULL);
CREATE INDEX incoming_by_batch ON cacheness.incoming USING btree (batch);
ALTER TABLE ONLY cacheness.blob_chunks
    ADD CONSTRAINT blob_chunks_name_fkey FOREIGN KEY (name) REFERENCES cacheness.blobs(name) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
