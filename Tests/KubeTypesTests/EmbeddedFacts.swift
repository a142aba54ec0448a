import CSchemas
import Wire

/// The data the catalog is made of, read anew.
enum EmbeddedFacts {
    static var resources: JSONObject {
        guard let file = weft_schema_file("kubernetes-resources")?.pointee else { return JSONObject() }
        let bytes = Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
        return (try? JSON(parsing: bytes))?.object ?? JSONObject()
    }
}
